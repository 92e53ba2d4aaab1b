"""Jobs that mail links and notices, and delete old tokens."""

from datetime import timedelta
from uuid import UUID

from sqlmodel import col

from backend.core.context import Context
from backend.core.jobs import Job
from backend.core.principal import SYSTEM
from backend.db.base import utc_now
from backend.db.purge import delete_in_batches
from backend.integrations.email import Message
from backend.modules.accounts import mails
from backend.modules.accounts.models import MailedToken
from backend.modules.mail.service import deliver
from backend.modules.users.events import PasswordChanged

# The job of a notice may wait for a mail server for longer than the token is valid.
KEPT = timedelta(days=1)
BATCH = 1000


async def mail_link(context: Context, token_id: str) -> None:
    """Mail the link of a token, unless it has been used or replaced, or has expired."""
    async with context.database.transaction() as session:
        message = await mails.link_mail(context, session, UUID(token_id))
    await _send(context, message)


async def mail_notice(context: Context, token_id: str) -> None:
    """Mail the notice of this token's request or use to the owner of the account."""
    async with context.database.transaction() as session:
        message = await mails.notice_mail(context, session, UUID(token_id))
    await _send(context, message)


async def mail_password_notice(context: Context, event: PasswordChanged, event_id: UUID) -> None:
    """Mail a notice of a change within a session; a reset by a mailed link has its own notice."""
    if event.keep_session is not None:
        await _mail_password_notice(context, str(event.user_id), str(event_id))


async def _mail_password_notice(context: Context, user_id: str, notice_id: str) -> None:
    # The id identifies the mail, so that mail servers can discard a second one.
    async with context.database.transaction() as session:
        message = await mails.password_notice(context, session, UUID(user_id), notice_id)
    await _send(context, message)


async def _send(context: Context, message: Message | None) -> None:
    if message is not None:
        await deliver(context, SYSTEM, message)


async def purge_tokens(context: Context) -> None:
    """Delete tokens a day after they expired, at most `BATCH` per transaction."""
    old = col(MailedToken.expires_at) < utc_now() - KEPT
    await delete_in_batches(context.database, MailedToken, old, batch=BATCH)


# Twelve attempts with backoff take half a day: outages of mail servers last for hours.
MAIL_ATTEMPTS = 12
MAIL_LINK = Job("accounts.mail_link", mail_link, attempts=MAIL_ATTEMPTS)
MAIL_NOTICE = Job("accounts.mail_notice", mail_notice, attempts=MAIL_ATTEMPTS)
# Only jobs that 0.1.0 has enqueued; now the notice is the delivery of an event.
MAIL_PASSWORD_NOTICE = Job(
    "accounts.mail_password_notice", _mail_password_notice, attempts=MAIL_ATTEMPTS
)
PURGE_TOKENS = Job("accounts.purge_tokens", purge_tokens, cron="37 * * * *")
