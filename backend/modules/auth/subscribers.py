"""What happens to sessions when accounts change, in the transaction of the change."""

from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request

from backend.core.client_info import current_scope
from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.db.database import after_commit
from backend.modules.audit import service as audit
from backend.modules.auth import service, web
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
    """An administrator may have given the account to somebody else."""
    if not event.by_owner:
        await service.end_sessions(session, SYSTEM, event.user_id)


async def clear_own_cookies(_: Context, session: AsyncSession, event: UserDeleted) -> None:
    """Take the cookies of a browser whose own account is deleted, once that is committed."""
    scope = current_scope.get()
    principal = scope.get("principal") if scope else None
    if scope and principal and principal.csrf_token and principal.user_id == event.user_id:

        async def clear() -> None:
            web.clear_cookies(Request(scope))

        after_commit(session, clear)
