"""Sign-in and sessions: the use cases."""

import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.addresses.account_names import name_key
from backend.core import limits
from backend.core.client_info import ClientInfo
from backend.core.context import Context
from backend.core.errors import (
    AppError,
    InvalidTokenError,
    ServiceUnavailableError,
)
from backend.core.http.pagination import Page
from backend.core.limits import RateLimitedError, Rule
from backend.core.principal import Principal
from backend.db.base import utc_now, uuid7
from backend.db.lists.pages import ListQuery, fetch_page
from backend.db.query_runner import QueryRunner, Row
from backend.modules.audit import service as audit
from backend.modules.auth import queries
from backend.modules.auth.exceptions import (
    AccountDisabledError,
    EmailNotVerifiedError,
    InvalidCredentialsError,
)
from backend.modules.auth.models import UserSession
from backend.modules.auth.refresh_tokens import RefreshToken, first_token
from backend.modules.auth.rotation import IssuedTokens, Transport, issue_tokens
from backend.modules.auth.schemas import SessionOut
from backend.modules.auth.settings import AuthSettings
from backend.modules.users import service as users
from backend.modules.users.exceptions import CurrentPasswordWrongError, UserNotFoundError
from backend.modules.users.service import Credentials

# Guesses of one account's password, and sign-ins from one address.
PASSWORD_ATTEMPTS = Rule(5, 300)
SIGN_IN_ATTEMPTS = Rule(30, 60)
# Events about sign-ins of one account, or name, that these refused: a flood fills no record.
REFUSALS = Rule(1, 60)


async def sign_in(
    context: Context, name: str, password: str, client: ClientInfo, transport: Transport = "body"
) -> IssuedTokens:
    """Open a session; `InvalidCredentialsError` alike for a wrong name and a wrong password.

    `RateLimitedError` after too many for this name, or from this address. No connection is held
    while the password is hashed, which takes longer than all the rest.
    """
    found = await users.credentials(context.database.primary, name)
    attempts_key = _attempts_key(context, found.user_id if found else None, name)
    try:
        await limits.hit_address(context, "sign-in", client.ip, SIGN_IN_ATTEMPTS)
        right = await _check_password(context, attempts_key, password, found)
    except RateLimitedError as limited:
        await _record_limit(context, limited, _target(context, found, name))
        raise
    if not right or found is None:
        raise await _refused(context, InvalidCredentialsError(), found, name)
    if not found.is_active or not (found.is_verified or not needs_verified_email(context)):
        await limits.clear(context, attempts_key)
        error = EmailNotVerifiedError() if found.is_active else AccountDisabledError()
        raise await _refused(context, error, found, name)
    async with _refund_if_untried(context, attempts_key):
        opened = await _open(context, found, attempts_key, password, client, transport)
        if opened is None:
            again = await _renewed_meanwhile(context, found.user_id, password)
            if again is not None:
                opened = await _open(context, again, attempts_key, password, client, transport)
    if opened is None:
        raise await _refused(context, InvalidCredentialsError(), found, name)
    return opened


async def _renewed_meanwhile(context: Context, user_id: UUID, password: str) -> Credentials | None:
    """The account as it is now, if only its hash has changed: another sign-in has renewed it."""
    try:
        found = await users.credentials_of(context.database.primary, user_id)
    except UserNotFoundError:
        return None
    if not found.is_active:
        return None
    right = await users.verify_password(context, password, found)
    return found if right else None


async def _open(
    context: Context,
    account: Credentials,
    attempts_key: str,
    password: str,
    client: ClientInfo,
    transport: Transport,
) -> IssuedTokens | None:
    """A new session; None if this is not the account's password hash any more."""
    renewed = await users.renewed_hash(context, password, account.password_hash)
    async with context.database.transaction() as session:
        if not await users.lock_password(session, account.user_id, account.password_hash):
            return None
        if renewed is not None:
            await users.store_renewed_hash(session, account.user_id, renewed)
        await limits.clear_in(session, context, attempts_key)
        opened = await _open_session(session, context, account.user_id, client, transport)
        await audit.record(
            session,
            "auth.login",
            target=("session", opened.session_id),
            actor_id=account.user_id,
            changes={"transport": transport},
        )
    return opened


def needs_verified_email(context: Context) -> bool:
    """Whether signing in waits until the address is verified."""
    return context.settings_of(AuthSettings).require_verified_email


def _attempts_key(context: Context, user_id: UUID | None, name: str) -> str:
    return f"guess:{user_id or _name_digest(context, name)}"


def _name_digest(context: Context, name: str) -> str:
    """What is kept of a name that nobody has: perhaps it is a password in the wrong field."""
    normal = name_key(name).encode()
    return hmac.digest(context.key("sign-in names"), normal, hashlib.sha256).hex()


async def _check_password(
    context: Context, attempts_key: str, password: str, found: Credentials | None
) -> bool:
    """Compare a password, unless there have been too many wrong ones."""
    # Counted before it is known to be wrong: many at once must not all be tried.
    verdict = await limits.hit(context, attempts_key, PASSWORD_ATTEMPTS)
    if not verdict.allowed:
        raise RateLimitedError(verdict)
    async with _refund_if_untried(context, attempts_key):
        return await users.verify_password(context, password, found)


@asynccontextmanager
async def _refund_if_untried(context: Context, attempts_key: str) -> AsyncIterator[None]:
    """A guess that was not tried, for want of room, is none."""
    try:
        yield
    except ServiceUnavailableError:
        await limits.refund(context, attempts_key)
        raise


async def _refused(
    context: Context, error: AppError, found: Credentials | None, name: str
) -> AppError:
    """The error, once the failed sign-in is on record."""
    return await _recorded(context, error, "auth.login", _target(context, found, name))


async def _record_limit(context: Context, error: AppError, target: tuple[str, UUID | str]) -> None:
    """Record that sign-ins as this account or name exceed a limit, in one event a minute.

    All servers share the minute. That it has its event is remembered, so a flood of refusals
    writes nothing, and asks the database about it once in some seconds.
    """
    slot = await limits.hit_cached(context, f"refused sign-in {target[1]}", REFUSALS)
    if slot.allowed:
        await _recorded(context, error, "auth.login", target, outcome="denied")


def _target(context: Context, found: Credentials | None, name: str) -> tuple[str, UUID | str]:
    return ("user", found.user_id) if found else ("name", _name_digest(context, name))


async def _recorded(
    context: Context,
    error: AppError,
    action: str,
    target: tuple[str, UUID | str],
    outcome: audit.Outcome = "failure",
) -> AppError:
    """The error, once it is on record why the action failed or was refused."""
    async with context.database.transaction() as session:
        await audit.record(
            session, action, target=target, outcome=outcome, changes={"reason": error.code}
        )
    return error


async def _open_session(
    session: AsyncSession, context: Context, user_id: UUID, client: ClientInfo, transport: Transport
) -> IssuedTokens:
    settings = context.settings_of(AuthSettings)
    # By the clock of the moment at which an account was disabled: those of two servers differ.
    now = (await session.exec(select(func.clock_timestamp()))).one()
    token = first_token(uuid7())
    lasts = min(settings.session_idle_ttl, settings.session_absolute_ttl)
    made = UserSession(
        id=token.session_id,
        user_id=user_id,
        created_at=now,
        last_used_at=now,
        expires_at=now + timedelta(seconds=lasts),
        ip=client.ip,
        user_agent=client.user_agent,
        transport=transport,
        generation=token.generation,
        token_digest=token.digest,
        rotated_at=now,
    )
    await _make_room(session, user_id, settings.max_sessions_per_user - 1)
    session.add(made)
    await session.flush()
    return issue_tokens(context, user_id, token, now=now, expires_at=made.expires_at)


async def _make_room(session: AsyncSession, user_id: UUID, kept: int) -> None:
    """End all but the `kept` sessions that were used last. The account is locked."""
    surplus = (
        select(col(UserSession.id))
        .where(col(UserSession.user_id) == user_id, *queries.alive())
        .order_by(col(UserSession.last_used_at).desc(), col(UserSession.id).desc())
        .offset(kept)
    )
    await session.exec(
        update(UserSession).where(col(UserSession.id).in_(surplus)).values(revoked_at=utc_now())
    )


async def list_sessions(
    reader: QueryRunner, principal: Principal, query: ListQuery
) -> Page[SessionOut]:
    """The caller's own sessions that are still good."""
    page = await fetch_page(reader, queries.SESSIONS, query, user_id=principal.user_id)

    def told(row: Row) -> SessionOut:
        return SessionOut.from_row({**row, "current": row["id"] == principal.session_id})

    return Page.from_rows(page, told)


async def end_session(session: AsyncSession, user_id: UUID, session_id: UUID) -> bool:
    """End one session of this user; False if there is none such."""
    ended = await session.exec(
        update(UserSession)
        .where(
            col(UserSession.id) == session_id,
            col(UserSession.user_id) == user_id,
            queries.OF_ACTIVE_USER,
            *queries.alive(),
        )
        .values(revoked_at=utc_now())
    )
    if ended.rowcount:
        await audit.record(session, "auth.logout", target=("session", session_id), actor_id=user_id)
    return bool(ended.rowcount)


async def end_by_refresh_token(
    session: AsyncSession, token: RefreshToken, transport: Transport
) -> bool:
    """End the session of a refresh token, also of one that has been replaced since."""
    found = await session.exec(
        select(UserSession.user_id).where(
            col(UserSession.id) == token.session_id, col(UserSession.transport) == transport
        )
    )
    user_id = found.first()
    return user_id is not None and await end_session(session, user_id, token.session_id)


async def end_sessions(session: AsyncSession, user_id: UUID, *, keep: UUID | None = None) -> None:
    """End all sessions of this user, but for one."""
    statement = update(UserSession).where(col(UserSession.user_id) == user_id, *queries.alive())
    if keep is not None:
        statement = statement.where(col(UserSession.id) != keep)
    await session.exec(statement.values(revoked_at=utc_now()))


async def log_out_everywhere(session: AsyncSession, user_id: UUID) -> None:
    """End all sessions of a user, and let no sign-in slip through meanwhile."""
    await users.lock_account(session, user_id=user_id)
    await end_sessions(session, user_id)
    await audit.record(session, "auth.logout", target=("user", user_id))


async def log_out_somebody(session: AsyncSession, user_id: UUID, *, by: Principal) -> None:
    """End all sessions of a user. Somebody with more rights is out of reach.

    `UserNotFoundError` or `PermissionDeniedError`.
    """
    # A sign-in at the same moment locks the account, too: it is over, or begins afterwards.
    await users.lock_in_reach(session, user_id, by=by)
    await log_out_everywhere(session, user_id)


async def clear_failed_attempts(context: Context, session: AsyncSession, user_id: UUID) -> None:
    """Forget the wrong guesses of this account's password."""
    await limits.clear_in(session, context, _attempts_key(context, user_id, ""))


async def confirm_password(
    context: Context, user_id: UUID, password: str, *, action: str
) -> Credentials:
    """The caller's credentials, if that is their password; a wrong one counts as a guess.

    `CurrentPasswordWrongError`, on record as a failure of `action`; `RateLimitedError` after too
    many.
    """
    try:
        found = await users.credentials_of(context.database.primary, user_id)
    except UserNotFoundError:
        # Deleted since the request began, and so is the session it came with.
        raise InvalidTokenError from None
    attempts_key = _attempts_key(context, user_id, "")
    if not await _check_password(context, attempts_key, password, found):
        raise await _recorded(context, CurrentPasswordWrongError(), action, ("user", user_id))
    await limits.clear(context, attempts_key)
    return found
