"""Steps of every change of an account: locks, permissions, unique names, audit events.

At least one active administrator with a password always remains.
"""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.constraints import constraint_errors
from backend.core.context import Context
from backend.core.errors import InvalidTokenError, PermissionDeniedError, ServiceUnavailableError
from backend.core.events import publish
from backend.core.features import ADMIN_ROLE
from backend.core.principal import SYSTEM, Caller, System
from backend.core.stored_responses import add_subjects
from backend.modules.audit import service as audit
from backend.modules.files import service as files
from backend.modules.roles import service as roles_service
from backend.modules.users.events import ProfileChanged
from backend.modules.users.exceptions import (
    EmailAlreadyExistsError,
    LastAdminError,
    UsernameAlreadyExistsError,
    UserNotFoundError,
)
from backend.modules.users.models import User, UserRole
from backend.modules.users.passwords import USABLE
from backend.modules.users.schemas import DEFAULT_ROLE, MeOut, UserOut

# An arbitrary number that no other advisory lock of this application uses.
_ADMINS_LOCK = 7_265_313
# Audit events never change, and deleted users have a right to erasure: events hold no values of
# these fields.
_PERSONAL = ("email", "username", "full_name", "avatar_key")
# Fields whose change publishes `ProfileChanged`.
_PROFILE = ("username", "full_name", "is_active")
_TAKEN = {
    "ix_users_email_key": EmailAlreadyExistsError,
    "ix_users_username_key": UsernameAlreadyExistsError,
}
# A context manager around changes of names.
unique_names = partial(constraint_errors, errors=_TAKEN)
# Two arbitrary numbers that no other advisory lock of this application uses. Two transactions that
# insert the same names in different orders would wait for each other. Bulk requests wait for one
# another, but not for an import, which may take minutes.
_LOCK_IMPORT = select(func.pg_advisory_xact_lock(7_265_314))
_NO_IMPORT = select(func.pg_try_advisory_xact_lock_shared(7_265_314))
_LOCK_BULK = select(func.pg_advisory_xact_lock(7_265_315))


async def lock_user(session: AsyncSession, user_id: UUID) -> tuple[User, list[str]]:
    """Lock the account until the transaction ends; return it with its roles."""
    user = await session.get(User, user_id, with_for_update=True)
    if user is None:
        raise UserNotFoundError
    statement = select(UserRole.role_name).where(col(UserRole.user_id) == user_id)
    return user, sorted(await session.exec(statement))


async def lock_manageable_user(
    session: AsyncSession, by: Caller, user_id: UUID
) -> tuple[User, list[str]]:
    """Lock like `lock_user`; raise `PermissionDeniedError` unless `by` may manage the account.

    To manage another account, `by` needs every permission of that account. The caller checks the
    preconditions of the request, after all rights.
    """
    try:
        user, roles = await lock_user(session, user_id)
    except UserNotFoundError:
        if user_id == by.user_id:
            # The account and its sessions were deleted after the request began.
            raise InvalidTokenError from None
        raise
    if user_id != by.user_id:
        await ensure_within_own_permissions(session, by, roles)
    return user, roles


async def ensure_within_own_permissions(
    session: AsyncSession, by: Caller, roles: Sequence[str]
) -> None:
    """Raise `PermissionDeniedError` if these roles have a permission that `by` lacks."""
    if not by.may_all(await roles_service.permissions_of(session, SYSTEM, roles)):
        raise PermissionDeniedError


async def lock_admins(session: AsyncSession) -> bool:
    """Lock the set of administrators until the transaction ends.

    Return whether one of them can sign in.
    """
    await session.exec(select(func.pg_advisory_xact_lock(_ADMINS_LOCK)))
    return await _has_admin(session)


async def ensure_admin_remains(session: AsyncSession, user: User, roles: Sequence[str]) -> None:
    """Raise `LastAdminError` if no administrator could sign in without this account."""
    if not user.is_active or ADMIN_ROLE not in roles:
        return
    # Without the lock, two administrators could remove each other concurrently.
    if await lock_admins(session) and not await _has_admin(session, beside=user.id):
        raise LastAdminError


async def _has_admin(session: AsyncSession, *, beside: UUID | None = None) -> bool:
    """Return whether there is an active administrator with a usable password.

    Accounts whose invitation is not accepted have none; neither have those with a hash of an
    unknown scheme.
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


async def record(
    session: AsyncSession,
    action: str,
    user_id: UUID,
    before: dict[str, Any],
    after: dict[str, Any],
    *,
    actor_id: UUID | None = None,
) -> None:
    """Record an audit event of this account, unless it is an update without changes."""
    changes = audit.changes_of(before, after, hidden=_PERSONAL)
    if changes or action != "user.update":
        await audit.record(
            session, action, target=("user", user_id), actor_id=actor_id, changes=changes
        )


def to_schema(user: User, roles: list[str]) -> UserOut:
    return UserOut(
        **user.model_dump(include=UserOut.model_fields.keys() - {"roles", "avatar_url"}),
        roles=roles,
        avatar_url=user.avatar_key and files.PUBLIC_PATH + user.avatar_key,
    )


def to_own_schema(user: User, roles: list[str]) -> MeOut:
    return MeOut(**to_schema(user, roles).model_dump(), pending_email=user.pending_email)


async def store_changes(
    context: Context,
    session: AsyncSession,
    by: Caller,
    user: User,
    roles: list[str],
    values: dict[str, Any],
) -> UserOut:
    """Store and record these fields of the account, which is locked; publish `ProfileChanged`."""
    before = {name: getattr(user, name) for name in values}
    async with unique_names(session):
        for name, value in values.items():
            setattr(user, name, value)
    await record(session, "user.update", user.id, before, values, actor_id=by.user_id)
    if any(name in _PROFILE and before[name] != value for name, value in values.items()):
        await publish(context, session, ProfileChanged(user.id))
    return to_schema(user, roles)


async def add_user(
    session: AsyncSession,
    by: System,
    *,
    email: str,
    username: str | None = None,
    full_name: str | None = None,
    password_hash: str | None = None,
    is_active: bool = True,
    is_verified: bool = False,
    roles: Collection[str] = (DEFAULT_ROLE,),
) -> UserOut:
    """Store a new account, for trusted callers that have checked everything.

    Raise `EmailAlreadyExistsError` or `UsernameAlreadyExistsError` if a name is taken.
    """
    by.must_be_system()
    user = User(
        email=email,
        username=username,
        full_name=full_name,
        password_hash=password_hash,
        is_active=is_active,
        is_verified=is_verified,
    )
    user.updated_at = user.created_at
    async with unique_names(session):
        session.add(user)
    roles = sorted(set(roles))
    session.add_all(UserRole(user_id=user.id, role_name=role) for role in roles)
    await session.flush()
    add_subjects(session, [user.id])
    after = {"is_active": is_active, "is_verified": is_verified, "roles": roles}
    await record(session, "user.create", user.id, {}, after)
    return to_schema(user, roles)


async def lock_for_import(session: AsyncSession) -> None:
    """Exclude other imports and `lock_for_bulk` until the transaction ends."""
    await session.exec(_LOCK_IMPORT)


async def lock_for_bulk(session: AsyncSession) -> None:
    """Exclude imports and other bulk requests, or raise an error at once during an import."""
    if not (await session.exec(_NO_IMPORT)).one():
        raise ServiceUnavailableError(
            "An import creates accounts. Try again when it has ended.",
            headers={"Retry-After": "60"},
        )
    await session.exec(_LOCK_BULK)
