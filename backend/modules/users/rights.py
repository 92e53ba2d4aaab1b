"""Who may change whom, and the administrator who must remain."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.errors import InvalidTokenError, PermissionDeniedError
from backend.core.permissions import ADMIN_ROLE
from backend.core.principal import Principal
from backend.modules.roles import service as roles_service
from backend.modules.users.exceptions import LastAdminError, UserNotFoundError
from backend.modules.users.models import User, UserRole
from backend.modules.users.passwords import USABLE

# Any number no other lock of this application uses.
_ADMINS_LOCK = 7_265_313


async def locked(session: AsyncSession, user_id: UUID) -> tuple[User, list[str]]:
    """The account and its roles, neither of which changes before the transaction ends."""
    user = await session.get(User, user_id, with_for_update=True)
    if user is None:
        raise UserNotFoundError
    statement = select(UserRole.role_name).where(col(UserRole.user_id) == user_id)
    return user, sorted(await session.exec(statement))


async def locked_in_reach(
    session: AsyncSession, user_id: UUID, by: Principal
) -> tuple[User, list[str]]:
    """`locked`; `PermissionDeniedError` where somebody else holds a permission that `by` lacks."""
    try:
        user, roles = await locked(session, user_id)
    except UserNotFoundError:
        if user_id == by.user_id:
            # Deleted since the request began, and so is the session it came with.
            raise InvalidTokenError from None
        raise
    if user_id != by.user_id:
        await ensure_within_own_permissions(session, by, roles)
    return user, roles


async def ensure_within_own_permissions(
    session: AsyncSession, by: Principal, roles: Sequence[str]
) -> None:
    """Nobody gives, takes or overrules a right that is not also their own."""
    if not await roles_service.permissions_of(session, roles) <= by.permissions:
        raise PermissionDeniedError


async def lock_admins(session: AsyncSession) -> bool:
    """Let nobody else change who is an administrator until the transaction ends.

    True if there is one who can sign in.
    """
    await session.exec(select(func.pg_advisory_xact_lock(_ADMINS_LOCK)))
    return await _has_admin(session)


async def ensure_admin_remains(session: AsyncSession, user: User, roles: Sequence[str]) -> None:
    """`LastAdminError` if without this account no administrator could sign in any more."""
    if not user.is_active or ADMIN_ROLE not in roles:
        return
    # Without the lock two administrators could remove each other at the same moment.
    if await lock_admins(session) and not await _has_admin(session, beside=user.id):
        raise LastAdminError


async def _has_admin(session: AsyncSession, *, beside: UUID | None = None) -> bool:
    """Whether there is an active administrator with a password.

    Neither an invitation that nobody has accepted nor a hash of an unknown scheme is one.
    """
    statement = (
        select(User.id)
        .join(UserRole, col(UserRole.user_id) == col(User.id))
        .where(
            col(UserRole.role_name) == ADMIN_ROLE,
            col(User.is_active),
            col(User.password_hash).regexp_match(USABLE),
        )
    )
    if beside:
        statement = statement.where(col(User.id) != beside)
    return (await session.exec(statement.limit(1))).first() is not None
