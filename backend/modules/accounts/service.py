"""Accounts and their mails: the use cases. What is mailed is decided by the jobs."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from pydantic import MISSING
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core import limits
from backend.core.client_info import client_info
from backend.core.context import Context
from backend.core.errors import FieldError, InvalidInputError, InvalidTokenError
from backend.core.jobs import enqueue
from backend.core.limits import RateLimitedError, Rule
from backend.core.principal import Principal
from backend.modules.accounts import queries, tokens
from backend.modules.accounts.exceptions import RegistrationClosedError, TokenInvalidError
from backend.modules.accounts.jobs import MAIL_LINK, MAIL_NOTICE
from backend.modules.accounts.models import MailedToken
from backend.modules.accounts.schemas import AccountUpdate
from backend.modules.accounts.settings import AccountSettings
from backend.modules.accounts.tokens import Notice, Purpose
from backend.modules.audit import service as audit
from backend.modules.auth import service as auth
from backend.modules.roles import service as roles
from backend.modules.users import service as users
from backend.modules.users.exceptions import (
    CurrentPasswordWrongError,
    EmailAlreadyExistsError,
    UserNotFoundError,
)
from backend.modules.users.schemas import (
    MeOut,
    MeUpdate,
    Registration,
    UserCreate,
    UserOut,
    UserUpdate,
)
from backend.modules.users.service import Account, Credentials

HOUR = 3600
# Mails with links that one client may cause, registrations and invitations included: an address of
# the network, and for invitations the one who is signed in as well.
REQUESTS = Rule(30, HOUR)
PASSWORD_MISSING = FieldError(field="body.current_password", message="Is required.", code="missing")
# Changes of address that one account may ask for.
CHANGES = Rule(5, HOUR)


def check_registration_open(context: Context) -> None:
    if _settings(context).registration_mode == "closed":
        raise RegistrationClosedError


async def register(context: Context, new: Registration) -> UserOut | None:
    """The new account, which is mailed a link. None in strict mode: there nothing is told yet.

    `RateLimitedError` for too many from one client, before any hashing.
    """
    await _count_request(context)
    names = (new.email, new.username)
    password_hash = await users.accept_password(
        context, new.password, names=names, lane="registration"
    )
    values = {**new.model_dump(exclude={"email", "password"}), "password_hash": password_hash}
    if _settings(context).registration_mode == "strict":
        async with context.database.transaction() as session:
            await _mail_link(session, context, "registration", new.email, registration=values)
        return None
    async with context.database.transaction() as session:
        user = await users.create_user(session, email=new.email, **values)
        await _mail_link(session, context, "verify", user.email, user_id=user.id)
    return user


async def create_user(
    context: Context, by: Principal, new: UserCreate, confirm: Callable[[], Awaitable[None]]
) -> UserOut:
    """An account for somebody else; without a password they are mailed an invitation.

    `confirm` raises if `by` has lost a right meanwhile.
    """
    if new.roles is not MISSING:
        by.must("users:admin")
    password_hash = None
    if new.password is None:
        await _count_invitation(context, by)
    else:
        names = (new.email, new.username)
        found = users.password_errors(context, new.password, names=names)
        if found and new.roles is not MISSING:
            found += await roles.role_errors(context, new.roles)
        if found:
            raise InvalidInputError(errors=found)
        password_hash = await users.accept_password(
            context, new.password, names=names, lane="registration"
        )
    async with context.database.transaction() as session:
        user = await users.create_user_as(session, by, new, password_hash)
        if password_hash is None:
            await invite(session, context, user)
        await confirm()
    return user


async def update_user(
    context: Context,
    by: Principal,
    user_id: UUID,
    changes: UserUpdate,
    confirm: Callable[[], Awaitable[None]],
) -> UserOut:
    """Change somebody's account. An invitation follows it to another address.

    It is also mailed to whoever could not use one before, because they were not active. A new
    address ends all sessions and mailed tokens; the old address is told, and so is the new one.
    `confirm` raises if `by` has lost a right meanwhile.
    """
    wanted = changes.model_dump(include={"email", "is_active"})
    if wanted:
        # Before a connection is held: counting takes another one.
        known = await users.credentials_of(context.database.primary, user_id)
        email, is_active = wanted.get("email", known.email), wanted.get("is_active", True)
        if _needs_invitation(known, email=email, is_active=is_active):
            await _count_invitation(context, by)
    async with context.database.transaction() as session:
        before = await users.lock_account(session, user_id=user_id)
        user = await users.update_user(session, user_id, changes, by=by)
        if before is not None:
            await _follow(session, context, before, user)
        await confirm()
    return user


async def _follow(session: AsyncSession, context: Context, before: Account, user: UserOut) -> None:
    """End and mail what a change of address or activity does to links, sessions and notices."""
    invited = _needs_invitation(before, email=user.email, is_active=user.is_active)
    if user.email != before.email:
        await tokens.end_all(session, user.id)
        await auth.end_sessions(session, user.id)
        await _notify(session, context, "moved_from", before.email, user.id)
        if not invited:
            await _notify(session, context, "moved_to", user.email, user.id)
    if invited:
        await invite(session, context, user)


async def _notify(
    session: AsyncSession, context: Context, notice: Notice, email: str, user_id: UUID
) -> None:
    row = tokens.make_notice(context, notice, email, user_id)
    session.add(row)
    await session.flush()
    await enqueue(session, MAIL_NOTICE, token_id=str(row.id))


def _needs_invitation(before: Credentials, *, email: str, is_active: bool) -> bool:
    reached = is_active and (not before.is_active or email != before.email)
    return reached and before.password_hash is None


async def _count_request(context: Context) -> None:
    """Count a mail that this client causes; `RateLimitedError` for one too many."""
    await limits.hit_address(context, "mailed links", client_info().ip, REQUESTS)


async def _count_invitation(context: Context, by: Principal) -> None:
    await _count_request(context)
    verdict = await limits.hit_cached(context, f"invitations by {by.user_id}", REQUESTS)
    if not verdict.allowed:
        raise RateLimitedError(verdict)


async def invite(session: AsyncSession, context: Context, user: UserOut) -> None:
    """Have an account without a password mailed the link that sets its first one."""
    await _mail_link(session, context, "invitation", user.email, user_id=user.id)


async def request_link(context: Context, purpose: Purpose, email: str) -> None:
    """Have a link mailed to this address, if it is that of an account that may use it.

    Here the same is done for every address, so that nobody learns from the answer or from its
    time whose it is; the job finds out. `RateLimitedError` for too many from one client.
    """
    await _count_request(context)
    async with context.database.transaction() as session:
        await _mail_link(session, context, purpose, email)


async def password_token(context: Context, text: str) -> tuple[MailedToken, tuple[str, str | None]]:
    """The token that sets a password, and the names of its account; `TokenInvalidError`."""
    token = await _live(context, text, *tokens.SETS_PASSWORD)
    assert token.user_id is not None
    try:
        found = await users.credentials_of(context.database.primary, token.user_id)
    except UserNotFoundError:
        raise TokenInvalidError from None
    return token, (found.email, found.username)


async def reset_password(context: Context, text: str, new_password: str) -> None:
    """Set the password of the account that was mailed this token, and end its sessions.

    `TokenInvalidError`, or `PasswordRefusedError`, which does not use the token up.
    """
    token, names = await password_token(context, text)
    new_hash = await users.accept_password(context, new_password, names=names, field="new_password")
    async with context.database.transaction() as session:
        account = await _use(session, token)
        await users.set_password(session, account.user_id, new_hash)
        await tokens.end(session, account.user_id, "email_change")
        await users.verify_email(session, account.user_id)
        await auth.clear_failed_attempts(context, session, account.user_id)
        await auth.end_sessions(session, account.user_id)
        await audit.record(
            session,
            "auth.password_reset",
            target=("user", account.user_id),
            actor_id=account.user_id,
            changes={"by": token.purpose},
        )
        if token.purpose == "reset":
            await enqueue(session, MAIL_NOTICE, token_id=str(token.id))


async def verify_email(context: Context, text: str) -> None:
    """What the owner of the address has asked for: it is theirs, it becomes theirs, or the
    account that waited for it is made.

    `TokenInvalidError`; `EmailAlreadyExistsError` or `UsernameAlreadyExistsError` if somebody
    else was faster.
    """
    token = await _live(context, text, "verify", "email_change", "registration")
    async with context.database.transaction() as session:
        if token.registration is not None:
            if not await tokens.use(session, token.id):
                raise TokenInvalidError
            await users.create_user(
                session, email=token.email, is_verified=True, **token.registration
            )
            return
        account = await _use(session, token)
        moves = token.purpose == "email_change"
        await users.verify_email(session, account.user_id, token.email if moves else None)
        if moves:
            await tokens.end_all(session, account.user_id)


async def update_me(context: Context, principal: Principal, changes: AccountUpdate) -> MeOut:
    """Change what was sent. A new address waits until it is verified."""
    wanted = None if changes.email is MISSING else changes.email
    proven = None
    if wanted is not None:
        me = await users.get_me(context.database.primary, principal.user_id)
        if wanted != me.email:
            proven = await _prove(context, principal, changes)
            await _check_free(context, principal, wanted)
            await _count_move(context, principal)
    values = changes.model_dump(exclude={"email", "current_password"})
    async with context.database.transaction() as session:
        account = await users.lock_account(session, user_id=principal.user_id)
        if account is None:
            # Deleted since the request began.
            raise InvalidTokenError
        if proven is not None and proven.password_hash != account.password_hash:
            raise CurrentPasswordWrongError
        pending = account.pending_email
        if wanted == account.email:
            pending = None
            await tokens.end(session, account.user_id, "email_change")
            await users.await_email(session, account.user_id, None)
        elif wanted is not None and proven is not None:
            pending = wanted
            await _await_email(session, context, account, wanted)
        user = await users.update_user(session, account.user_id, MeUpdate(**values), by=principal)
    return MeOut(**user.model_dump(), pending_email=pending)


async def _prove(
    context: Context, principal: Principal, changes: AccountUpdate
) -> users.Credentials:
    if changes.current_password is MISSING:
        raise InvalidInputError(errors=[PASSWORD_MISSING])
    return await auth.confirm_password(
        context, principal.user_id, changes.current_password, action="user.update"
    )


async def _check_free(context: Context, principal: Principal, email: str) -> None:
    if _settings(context).registration_mode == "strict":
        return
    owner = await users.credentials(context.database.primary, email)
    if owner is not None and owner.user_id != principal.user_id:
        raise EmailAlreadyExistsError


async def _count_move(context: Context, principal: Principal) -> None:
    verdict = await limits.hit_cached(context, f"changes of address {principal.user_id}", CHANGES)
    if not verdict.allowed:
        raise RateLimitedError(verdict)


async def _await_email(
    session: AsyncSession, context: Context, account: Account, email: str
) -> None:
    if account.pending_email != email:
        await tokens.end(session, account.user_id, "email_change")
    await users.await_email(session, account.user_id, email)
    await _mail_link(
        session,
        context,
        "email_change",
        email,
        user_id=account.user_id,
        former_email=account.email,
    )


async def _mail_link(
    session: AsyncSession,
    context: Context,
    purpose: Purpose,
    email: str,
    *,
    user_id: UUID | None = None,
    former_email: str | None = None,
    registration: dict[str, Any] | None = None,
) -> None:
    """A new token, and the job that mails it, which kills the account's older one."""
    token = tokens.make(context, purpose, email)
    token.user_id, token.former_email, token.registration = user_id, former_email, registration
    if purpose == "invitation":
        token.password_digest = tokens.password_digest(None)
    session.add(token)
    await session.flush()
    if former_email is not None:
        await enqueue(session, MAIL_NOTICE, token_id=str(token.id))
    await enqueue(session, MAIL_LINK, token_id=str(token.id))


async def _live(context: Context, text: str, *purposes: Purpose) -> MailedToken:
    row = await context.database.primary.first(queries.LIVE, digest=tokens.digest_of(text))
    if row is None or row["purpose"] not in purposes:
        raise TokenInvalidError
    return MailedToken(**row)


async def _use(session: AsyncSession, token: MailedToken) -> Account:
    """The account of a token that is used up by this; `TokenInvalidError` if it is too late."""
    account = await users.lock_account(session, user_id=token.user_id)
    if account is None or not tokens.fits(token, account):
        raise TokenInvalidError
    if not await tokens.use(session, token.id):
        raise TokenInvalidError
    return account


def _settings(context: Context) -> AccountSettings:
    return context.settings_of(AccountSettings)
