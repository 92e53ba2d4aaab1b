"""The contents of mails, and the decision whether a mail is sent."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.integrations.email import Message
from backend.modules.accounts import mail_limits, tokens
from backend.modules.accounts.models import MailedToken
from backend.modules.accounts.settings import AccountSettings
from backend.modules.auth import service as auth
from backend.modules.mail.service import render
from backend.modules.users import service as users
from backend.modules.users.exceptions import (
    EmailAlreadyExistsError,
    UsernameAlreadyExistsError,
    UserNotFoundError,
)
from backend.modules.users.service import Account

TEMPLATES = Path(__file__).parent / "templates"

log = structlog.get_logger()


async def link_mail(context: Context, session: AsyncSession, token_id: UUID) -> Message | None:
    """Return the mail with this token's link, or the notice that replaces it; None to send no mail.

    A sent mail counts towards the limit of its account or mailbox and ends the older link, in the
    same transaction; a job that runs twice counts once. Without a mail, nothing is counted.
    """
    token = await session.get(MailedToken, token_id)
    if token is None or not tokens.is_live(token):
        return None
    await tokens.lock_mailbox(session, token.email)
    # Accounts are always locked before tokens, which excludes deadlocks.
    if token.user_id is None:
        account = await users.lock_account(session, SYSTEM, email=token.email)
    else:
        account = await users.lock_account(session, SYSTEM, user_id=token.user_id)
    token = await session.get(MailedToken, token_id, with_for_update=True, populate_existing=True)
    if token is None or not tokens.is_live(token):
        return None
    if token.mailed_at is not None:
        # An earlier attempt failed to deliver, or its worker died before the job was completed.
        return await _mail_of(context, session, token, account)
    message = None
    if token.purpose == "registration" or await mail_limits.within_limit(
        context, session, token, account
    ):
        message = await _mail_of(context, session, token, account)
    if message is None:
        await tokens.discard(session, token)
    else:
        await tokens.mark_mailed(session, token, account)
    return message


async def _mail_of(
    context: Context, session: AsyncSession, token: MailedToken, account: Account | None
) -> Message | None:
    if token.purpose in {"registration", tokens.TAKEN}:
        return await _registration_mail(context, session, token, account)
    if account is None or not account.is_active:
        return None
    if token.mailed_at is None and not await tokens.is_newest(session, token, account.user_id):
        return None
    if token.user_id is None:
        _claim(token, account)
    if not tokens.matches_account(token, account):
        return None
    if token.purpose == "verify" and account.is_verified:
        return None
    if token.purpose == "email_change":
        owner = await users.find_account(context.database.primary, SYSTEM, token.email)
        if owner is not None and owner.user_id != account.user_id:
            return _address_taken(context, token, owner.email) if owner.is_active else None
    return _with_link(context, token)


async def notice_mail(context: Context, session: AsyncSession, token_id: UUID) -> Message | None:
    """Return the notice of a link or a change, for an owner who may not have requested it."""
    token = await session.get(MailedToken, token_id)
    if token is None:
        return None
    if token.purpose in tokens.MOVED:
        return await _moved_notice(context, session, token)
    if token.purpose == "email_change" and token.former_email is not None:
        message = _message(context, "email_change_notice", token.id, to=token.former_email)
        return await _notice(context, session, message, token.user_id, "leaving")
    if token.purpose == "reset":
        return _message(context, "password_reset_notice", token.id, to=token.email)
    return _message(context, f"{token.purpose}_notice", token.id, to=token.email)


async def password_notice(
    context: Context, session: AsyncSession, user_id: UUID, notice_id: str
) -> Message | None:
    """Return the notice of a changed password; None if the account was deleted."""
    try:
        account = await users.get_account(context.database.primary, SYSTEM, user_id)
    except UserNotFoundError:
        return None
    message = _message(context, "password_change_notice", notice_id, to=account.email)
    return await _notice(context, session, message, user_id, "password")


async def _notice(
    context: Context, session: AsyncSession, message: Message, user_id: UUID | None, kind: str
) -> Message | None:
    """Return the message, or None if the address is not verified and its limit is reached.

    Without the limit, a registration with a foreign address could fill that mailbox.
    """
    await tokens.lock_mailbox(session, message.to)
    account = await users.lock_account(session, SYSTEM, user_id=user_id)
    if account is not None and account.is_verified and account.email == message.to:
        return message
    allowed = await mail_limits.consume_for_notice(context, session, kind, message.to, message.id)
    return message if allowed else None


async def _moved_notice(
    context: Context, session: AsyncSession, token: MailedToken
) -> Message | None:
    """Return the notice of an administrator's change of address; None above the limit."""
    await tokens.lock_mailbox(session, token.email)
    account = await users.lock_account(session, SYSTEM, user_id=token.user_id)
    await session.refresh(token, with_for_update=True)
    if token.mailed_at is None:
        if not await mail_limits.within_limit(context, session, token, account):
            return None
        await tokens.mark_mailed(session, token, account)
    return _message(context, f"{token.purpose}_notice", token.id, to=token.email)


def _claim(token: MailedToken, account: Account) -> None:
    """Assign the token to the account."""
    token.user_id = account.user_id
    # Mail goes to the account's spelling: one that differs in case may be another mailbox.
    token.email = account.email
    if token.purpose in tokens.SETS_PASSWORD:
        token.password_digest = account.password_version


async def _registration_mail(
    context: Context, session: AsyncSession, token: MailedToken, owner: Account | None
) -> Message | None:
    """Return the mail of a registration in strict mode, whose response reveals nothing."""
    if owner is not None:
        if not owner.is_active:
            return None
        return await _taken(context, session, token, _address_taken(context, token, owner.email))
    assert token.registration is not None
    username_taken = _message(context, "username_taken", token.id, to=token.email)
    username = token.registration["username"]
    if username and await users.find_account(context.database.primary, SYSTEM, username):
        return await _taken(context, session, token, username_taken)
    if token.mailed_at is None and not await mail_limits.within_limit(
        context, session, token, None
    ):
        return None
    if not auth.needs_verified_email(context):
        try:
            user = await users.add_user(session, SYSTEM, email=token.email, **token.registration)
        except EmailAlreadyExistsError:
            taken = _address_taken(context, token, token.email)
            return await _taken(context, session, token, taken)
        except UsernameAlreadyExistsError:
            return await _taken(context, session, token, username_taken)
        token.purpose, token.user_id, token.registration = "verify", user.id, None
    elif not await tokens.replace_registrations(session, token):
        return None
    return _with_link(context, token)


async def _taken(
    context: Context, session: AsyncSession, token: MailedToken, message: Message
) -> Message | None:
    """Return a mail about a taken address or username; None above the limit of such mails.

    Strangers can cause them at will, so they do not count towards the limit of links.
    """
    token.purpose = tokens.TAKEN
    allowed = token.mailed_at is not None or await mail_limits.within_limit(
        context, session, token, None
    )
    return message if allowed else None


def _with_link(context: Context, token: MailedToken) -> Message | None:
    text = tokens.text_of(context, token)
    if text is None:
        # An error for the operator: if server and worker have different secrets, no mail is sent.
        log.error(
            "mail_given_up",
            reason="SECRET_KEY has changed; put the former one into "
            "SECRET_KEY_PREVIOUS, on servers and workers alike",
        )
        return None
    template = "verify" if token.purpose == "registration" else token.purpose
    return _message(
        context,
        template,
        token.id,
        to=token.email,
        link=context.settings_of(AccountSettings).link(token.purpose, text),
        lifetime=_duration_text(token.expires_at - token.created_at),
    )


def _address_taken(context: Context, token: MailedToken, to: str) -> Message:
    return _message(context, "address_taken", token.id, to=to)


def _message(context: Context, template: str, id: UUID | str, *, to: str, **values: str) -> Message:
    """Return the mail of a template; `id` identifies the token or change that it is about."""
    # Mails contain no names: a registration may combine a chosen name with a foreign address.
    site = context.settings_of(AccountSettings).site
    return render(
        TEMPLATES,
        template,
        to=to,
        id=f"{template}.{id}",
        product=context.settings.product_name,
        values={"site": site, **values},
    )


def _duration_text(lifetime: timedelta) -> str:
    minutes = round(lifetime.total_seconds() / 60)
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"
