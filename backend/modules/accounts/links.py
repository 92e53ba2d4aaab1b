"""Links and notices: storing their rows and enqueueing the jobs that mail them."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.jobs import enqueue, enqueue_all
from backend.modules.accounts import tokens
from backend.modules.accounts.jobs import MAIL_LINK, MAIL_NOTICE
from backend.modules.accounts.tokens import Notice, Purpose
from backend.modules.users.service import NO_PASSWORD

# There may be a thousand: links that somebody waits for, and notices, are mailed first.
INVITATION_PRIORITY = -1


async def mail_link(
    session: AsyncSession,
    context: Context,
    purpose: Purpose,
    email: str,
    *,
    user_id: UUID | None = None,
    former_email: str | None = None,
    registration: dict[str, Any] | None = None,
) -> None:
    """Store a new token and enqueue the job that mails it; the job ends the account's older one.

    With `former_email`, also enqueue a notice to that address.
    """
    token = tokens.make(context, purpose, email)
    token.user_id, token.former_email, token.registration = user_id, former_email, registration
    session.add(token)
    await session.flush()
    if former_email is not None:
        await enqueue(session, MAIL_NOTICE, token_id=str(token.id))
    await enqueue(session, MAIL_LINK, token_id=str(token.id))


async def mail_invitations(
    session: AsyncSession, context: Context, emails: Mapping[UUID, str]
) -> None:
    """Store a token and enqueue a mail for each account, all of them in one round trip each."""
    invited = []
    for user_id, email in emails.items():
        token = tokens.make(context, "invitation", email)
        token.user_id, token.password_digest = user_id, NO_PASSWORD
        invited.append(token)
    session.add_all(invited)
    await session.flush()
    tokens_of_jobs = [{"token_id": str(token.id)} for token in invited]
    await enqueue_all(session, MAIL_LINK, tokens_of_jobs, priority=INVITATION_PRIORITY)


async def mail_notice(
    session: AsyncSession, context: Context, notice: Notice, email: str, user_id: UUID
) -> None:
    row = tokens.make_notice(context, notice, email, user_id)
    session.add(row)
    await session.flush()
    await enqueue(session, MAIL_NOTICE, token_id=str(row.id))
