"""Subscribers that end sessions, in the transaction of an account's change."""

from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request

from backend.core.client_info import current_scope
from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.db.database import after_commit
from backend.modules.audit import service as audit
from backend.modules.auth import service, session_cookies
from backend.modules.users.events import (
    EmailChanged,
    PasswordChanged,
    SessionsRevoked,
    UserDeleted,
)


async def end_other_sessions(_: Context, session: AsyncSession, event: PasswordChanged) -> None:
    await service.end_sessions(session, SYSTEM, event.user_id, keep=event.keep_session)


async def end_all_sessions(_: Context, session: AsyncSession, event: SessionsRevoked) -> None:
    await service.end_sessions(session, SYSTEM, event.user_id)
    target = ("user", event.user_id)
    await audit.record(session, "auth.logout", target=target, actor_id=event.by)


async def end_sessions_of_former_owner(
    _: Context, session: AsyncSession, event: EmailChanged
) -> None:
    """End all sessions if an administrator changed the address: the owner may have changed."""
    if not event.by_owner:
        await service.end_sessions(session, SYSTEM, event.user_id)


async def clear_own_cookies(_: Context, session: AsyncSession, event: UserDeleted) -> None:
    """After the commit, clear the cookies of a caller who has deleted their own account."""
    scope = current_scope.get()
    principal = scope.get("principal") if scope else None
    if scope and principal and principal.csrf_token and principal.user_id == event.user_id:

        async def clear() -> None:
            session_cookies.clear_cookies(Request(scope))

        after_commit(session, clear)
