"""Sign-in and sessions: the use cases."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.pagination import Page
from backend.core.principal import Principal
from backend.db.base import utc_now
from backend.db.lists import ListQuery, fetch_page
from backend.db.reads import Reads, Row
from backend.modules.auth import queries
from backend.modules.auth.exceptions import (
    AccountDisabledError,
    InvalidCredentialsError,
)
from backend.modules.auth.models import UserSession
from backend.modules.auth.schemas import PasswordChange, SessionOut, Tokens
from backend.modules.auth.settings import AuthSettings
from backend.modules.auth.tokens import issuer_of
from backend.modules.users import service as users
from backend.modules.users.exceptions import CurrentPasswordWrongError, PasswordRefusedError


@dataclass(frozen=True)
class Client:
    """Where a sign-in comes from, for its owner to recognise."""

    ip: str | None
    user_agent: str | None


async def sign_in(context: Context, name: str, password: str, client: Client) -> Tokens:
    """Open a session; `InvalidCredentialsError` alike for a wrong name and a wrong password.

    No connection is held while the password is hashed, which takes longer than all the rest.
    """
    found = await users.credentials(context.database.fresh, name)
    password_hash = found.password_hash if found else None
    if not await users.verify_password(context, password, password_hash) or found is None:
        raise InvalidCredentialsError
    if not found.is_active:
        raise AccountDisabledError
    async with context.database.transaction() as session:
        if not await users.lock_password(session, found.user_id, password_hash):
            raise InvalidCredentialsError
        return _open_session(session, context, found.user_id, client)


def _open_session(session: AsyncSession, context: Context, user_id: UUID, client: Client) -> Tokens:
    now, ttl = utc_now(), context.settings_of(AuthSettings).access_token_ttl
    made = UserSession(
        user_id=user_id,
        created_at=now,
        last_used_at=now,
        expires_at=now + timedelta(seconds=ttl),
        ip=client.ip,
        user_agent=client.user_agent,
    )
    session.add(made)
    token = issuer_of(context).issue(user_id, made.id, issued=now, ttl=ttl)
    return Tokens(access_token=token, expires_in=ttl, session_id=made.id)


async def list_sessions(reads: Reads, principal: Principal, query: ListQuery) -> Page[SessionOut]:
    """The caller's own sessions that are still good."""
    page = await fetch_page(reads, queries.SESSIONS, query, user_id=principal.user_id)

    def tell(row: Row) -> SessionOut:
        return SessionOut.from_row({**row, "current": row["id"] == principal.session_id})

    return Page.of(page, tell)


async def end_session(session: AsyncSession, user_id: UUID, session_id: UUID) -> bool:
    """End one session of this user; False if there is none such."""
    ended = await session.exec(
        update(UserSession)
        .where(
            col(UserSession.id) == session_id,
            col(UserSession.user_id) == user_id,
            *queries.alive(),
        )
        .values(revoked_at=utc_now())
    )
    return bool(ended.rowcount)


async def end_sessions(session: AsyncSession, user_id: UUID, *, keep: UUID | None = None) -> None:
    """End all sessions of this user, but for one."""
    statement = update(UserSession).where(col(UserSession.user_id) == user_id, *queries.alive())
    if keep is not None:
        statement = statement.where(col(UserSession.id) != keep)
    await session.exec(statement.values(revoked_at=utc_now()))


async def change_password(context: Context, principal: Principal, change: PasswordChange) -> None:
    """Replace the caller's password and end their other sessions."""
    account = await users.credentials_of(context.database.fresh, principal.user_id)
    old_hash = account.password_hash
    if not await users.verify_password(context, change.current_password, old_hash):
        raise CurrentPasswordWrongError
    if change.new_password == change.current_password:
        raise PasswordRefusedError("new_password", "unchanged", "Must differ from the old one.")
    new_hash = await users.accept_password(
        context,
        change.new_password,
        names=(account.email, account.username),
        field="new_password",
    )
    async with context.database.transaction() as session:
        if not await users.lock_password(session, principal.user_id, old_hash):
            raise CurrentPasswordWrongError
        await users.set_password(session, principal.user_id, new_hash)
        await end_sessions(session, principal.user_id, keep=principal.session_id)
