"""Use cases of sign-in and sessions."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core import limits
from backend.core.client_info import ClientInfo
from backend.core.context import Context, ExportPages
from backend.core.errors import AppError
from backend.core.limits import RateLimitedError, Rule
from backend.core.lists import Page, read_all
from backend.core.personal_data import export_query
from backend.core.principal import SYSTEM, Principal, System
from backend.db.base import utc_now, uuid7
from backend.db.lists.pages import fetch_page
from backend.db.lists.specs import ListQuery
from backend.db.query_runner import QueryRunner, Row
from backend.modules.audit import service as audit
from backend.modules.auth import queries
from backend.modules.auth.exceptions import (
    AccountDisabledError,
    EmailNotVerifiedError,
    InvalidCredentialsError,
    RefreshTokenInvalidError,
    SessionNotFoundError,
)
from backend.modules.auth.models import UserSession
from backend.modules.auth.refresh_tokens import RefreshToken, first_token
from backend.modules.auth.rotation import IssuedTokens, Transport, issue_tokens, refresh
from backend.modules.auth.schemas import SessionOut
from backend.modules.auth.settings import AuthSettings
from backend.modules.users import service as users
from backend.modules.users.exceptions import WrongPasswordError
from backend.modules.users.service import Account

__all__ = ["refresh"]

# Sign-in attempts per network address.
SIGN_IN_ATTEMPTS = Rule(30, 60, "sign-ins")
# Audit events of rate-limited sign-ins per account or name.
REFUSALS = Rule(1, 60)


async def sign_in(
    context: Context, name: str, password: str, client: ClientInfo, transport: Transport = "body"
) -> IssuedTokens:
    """Check the password, open a session and return its tokens.

    Raise `InvalidCredentialsError` for a wrong name or password without distinguishing them,
    `AccountDisabledError`, `EmailNotVerifiedError`, or `RateLimitedError` after too many attempts
    with this name or from this address. No connection is held while the password is hashed, which
    takes most of the time.
    """
    account_or_name = await users.find_account(context.database.primary, SYSTEM, name) or name
    target = users.attempt_target(context, account_or_name)

    async def open_session(session: AsyncSession, account: Account) -> IssuedTokens:
        issued = await _open_session(session, context, account.user_id, client, transport)
        await audit.record(
            session,
            "auth.login",
            target=("session", issued.session_id),
            actor_id=account.user_id,
            changes={"transport": transport},
        )
        return issued

    def refuse(account: Account) -> AppError | None:
        if not account.is_active:
            return AccountDisabledError()
        if not account.is_verified and needs_verified_email(context):
            return EmailNotVerifiedError()
        return None

    try:
        await limits.hit_address(context, "sign-in", client.ip, SIGN_IN_ATTEMPTS)
        issued = await users.check_password(
            context, account_or_name, password, refuse=refuse, then=open_session
        )
    except RateLimitedError as limited:
        _count(context, limited.code)
        await _record_limit(context, limited, target)
        raise
    except (AccountDisabledError, EmailNotVerifiedError) as error:
        _count(context, error.code)
        await _record_refusal(context, error, target)
        raise
    except WrongPasswordError:
        refused = InvalidCredentialsError()
        _count(context, refused.code)
        await _record_refusal(context, refused, target)
        raise refused from None
    _count(context, "success")
    return issued


def _count(context: Context, outcome: str) -> None:
    if context.metrics is not None:
        context.metrics.sign_ins.labels(outcome.lower()).inc()


def needs_verified_email(context: Context) -> bool:
    """Return whether sign-in requires a verified address."""
    return context.settings_of(AuthSettings).require_verified_email


async def _record_limit(context: Context, error: AppError, target: tuple[str, UUID | str]) -> None:
    """Record that sign-ins with this account or name exceed a limit, once a minute at most.

    All servers share this limit. The process caches that it is reached, so a flood of refused
    sign-ins writes nothing and queries the limit once in some seconds.
    """
    slot = await limits.hit_cached(context, f"refused sign-in {target[1]}", REFUSALS)
    if slot.allowed:
        await _record_refusal(context, error, target, outcome="denied")


async def _record_refusal(
    context: Context,
    error: AppError,
    target: tuple[str, UUID | str],
    outcome: audit.Outcome = "failure",
) -> None:
    """Record why a sign-in failed or was refused."""
    async with context.database.transaction() as session:
        await audit.record(
            session, "auth.login", target=target, outcome=outcome, changes={"reason": error.code}
        )


async def _open_session(
    session: AsyncSession, context: Context, user_id: UUID, client: ClientInfo, transport: Transport
) -> IssuedTokens:
    settings = context.settings_of(AuthSettings)
    # The database's clock, which also sets `sessions_valid_after`: clocks of servers differ.
    now = (await session.exec(select(func.clock_timestamp()))).one()
    token = first_token(uuid7())
    lasts = min(settings.session_idle_ttl, settings.session_absolute_ttl)
    opened = UserSession(
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
        wrote_at=now,
    )
    await _end_surplus_sessions(session, user_id, settings.max_sessions_per_user - 1)
    session.add(opened)
    await session.flush()
    return issue_tokens(context, user_id, token, now=now, expires_at=opened.expires_at)


async def _end_surplus_sessions(session: AsyncSession, user_id: UUID, kept: int) -> None:
    """End all sessions but the `kept` last used ones. The caller has locked the account."""
    surplus = (
        select(col(UserSession.id))
        .where(col(UserSession.user_id) == user_id, *queries.alive())
        .order_by(col(UserSession.last_used_at).desc(), col(UserSession.id).desc())
        .offset(kept)
    )
    await session.exec(
        update(UserSession).where(col(UserSession.id).in_(surplus)).values(revoked_at=utc_now())
    )


async def list_sessions(reader: QueryRunner, by: Principal, query: ListQuery) -> Page[SessionOut]:
    """Return a page of the principal's own sessions that have not ended."""
    page = await fetch_page(reader, queries.SESSIONS, query, user_id=by.user_id)
    return Page.from_rows(page, lambda row: _to_schema(row, by))


async def export_sessions(context: Context, reader: QueryRunner, by: Principal) -> ExportPages:
    """Yield the principal's own sessions that have not ended."""
    query = export_query(context)
    async for rows in read_all(reader, queries.SESSIONS, query, user_id=by.user_id):
        yield [_to_schema(row, by) for row in rows]


async def end_session(context: Context, by: Principal, session_id: UUID) -> None:
    """End one of the principal's own sessions; raise `SessionNotFoundError` for any other."""
    async with context.database.transaction() as session:
        if not await _end_session(session, by.user_id, session_id):
            raise SessionNotFoundError


async def log_out(
    context: Context, credential: Principal | RefreshToken, transport: Transport = "body"
) -> None:
    """End the session of the principal, or of a refresh token that was sent by this transport.

    The token may be a replaced one. Raise `RefreshTokenInvalidError` if its session has ended.
    """
    async with context.database.transaction() as session:
        if isinstance(credential, Principal):
            # The session may have ended since the request was authenticated, which is no error.
            await _end_session(session, credential.user_id, credential.session_id)
        elif not await _end_by_refresh_token(session, credential, transport):
            raise RefreshTokenInvalidError


async def log_out_everywhere(context: Context, by: Principal) -> None:
    """End all sessions of the principal. A concurrent sign-in waits for the account's lock."""
    async with context.database.transaction() as session:
        await users.lock_account(session, SYSTEM, user_id=by.user_id)
        await end_sessions(session, SYSTEM, by.user_id)
        target = ("user", by.user_id)
        await audit.record(session, "auth.logout", target=target, actor_id=by.user_id)


async def end_sessions(
    session: AsyncSession, by: System, user_id: UUID, *, keep: UUID | None = None
) -> None:
    """End all sessions of this user except `keep`.

    For trusted callers that have locked the account.
    """
    by.must_be_system()
    statement = update(UserSession).where(col(UserSession.user_id) == user_id, *queries.alive())
    if keep is not None:
        statement = statement.where(col(UserSession.id) != keep)
    await session.exec(statement.values(revoked_at=utc_now()))


async def _end_session(session: AsyncSession, user_id: UUID, session_id: UUID) -> bool:
    """End and record one session of this user; return False if it does not exist or has ended."""
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


async def _end_by_refresh_token(
    session: AsyncSession, token: RefreshToken, transport: Transport
) -> bool:
    rows = await session.exec(
        select(UserSession.user_id).where(
            col(UserSession.id) == token.session_id, col(UserSession.transport) == transport
        )
    )
    user_id = rows.first()
    return user_id is not None and await _end_session(session, user_id, token.session_id)


def _to_schema(row: Row, by: Principal) -> SessionOut:
    return SessionOut.from_row({**row, "current": row["id"] == by.session_id})
