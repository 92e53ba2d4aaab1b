"""Use cases of administrators: creating, inviting, changing and deleting accounts."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from pydantic import MISSING
from sqlalchemy import func
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core import limits
from backend.core.client_info import client_info
from backend.core.context import Context
from backend.core.errors import InvalidInputError, PermissionDeniedError
from backend.core.events import publish
from backend.core.limits import RateLimitedError, Rule
from backend.core.personal_data import erase_user
from backend.core.preconditions import check_preconditions
from backend.core.principal import SYSTEM, Caller, Principal
from backend.modules.roles import service as roles_service
from backend.modules.users.changes import (
    add_user,
    ensure_admin_remains,
    ensure_within_own_permissions,
    lock_manageable_user,
    record,
    store_changes,
    to_own_schema,
    to_schema,
)
from backend.modules.users.events import EmailChanged, SessionsRevoked, UserDeleted, UsersInvited
from backend.modules.users.exceptions import InvitationRefusedError, OwnEmailError
from backend.modules.users.models import User
from backend.modules.users.password_attempts import get_account, lock_account
from backend.modules.users.passwords import hash_new_password, password_errors
from backend.modules.users.schemas import DEFAULT_ROLE, Account, UserCreate, UserOut, UserUpdate

# Mailed links per client, including registrations and invitations. The client is a network address,
# and for invitations also the inviting user.
MAILED_LINKS = Rule(30, 3600, "mailed links")
Confirm = Callable[[], Awaitable[None]]


async def count_mailed_link(context: Context) -> None:
    """Count a mail caused by this client; raise `RateLimitedError` above the limit."""
    await limits.hit_address(context, "mailed links", client_info().ip, MAILED_LINKS)


async def count_invitation(context: Context, by: Caller) -> None:
    """Count a request to invite for the client and for `by`, like `count_mailed_link`."""
    await count_mailed_link(context)
    if by.user_id is not None:
        result = await limits.hit_cached(context, f"invitations by {by.user_id}", MAILED_LINKS)
        if not result.allowed:
            raise RateLimitedError(result)


async def create_user(
    context: Context, session: AsyncSession, by: Caller, new: UserCreate, *, confirm: Confirm
) -> UserOut:
    """Create an account for another person, with a password or by an invitation mail.

    Raise `PermissionDeniedError` if a requested role has a permission that `by` lacks; if a
    password is set, this applies to the default role as well. `confirm` raises if `by` has lost a
    permission meanwhile.
    """
    by.must("users:write")
    if new.roles is not MISSING:
        by.must("users:admin")
    password_hash = None
    if new.password is None:
        await count_invitation(context, by)
    else:
        # Before the first statement, so that no connection waits for the hash.
        password_hash = await _hash_password_of(context, new, new.password)
    if new.roles is not MISSING:
        await ensure_within_own_permissions(session, by, new.roles)
    elif password_hash is not None:
        # The caller chose the password, so they can sign in to the account.
        await ensure_within_own_permissions(session, by, (DEFAULT_ROLE,))
    values = new.model_dump(exclude={"password"})
    user = await add_user(session, SYSTEM, password_hash=password_hash, **values)
    if password_hash is None:
        await publish(context, session, UsersInvited({user.id: user.email}))
    await confirm()
    return user


async def _hash_password_of(context: Context, new: UserCreate, password: str) -> str:
    names = (new.email, new.username)
    errors = password_errors(context, password, names=names)
    if errors and new.roles is not MISSING:
        errors += await roles_service.role_errors(context, SYSTEM, new.roles)
    if errors:
        raise InvalidInputError(errors=errors)
    return await hash_new_password(context, password, names=names, lane="registration")


async def update_user(
    context: Context, by: Caller, user_id: UUID, changes: UserUpdate, *, confirm: Confirm
) -> UserOut:
    """Change the fields that were sent.

    To change another account, `by` needs every permission of that account; to change its `email`,
    even in spelling only, also `users:admin`. A new `email` ends all sessions and mailed links. An
    account without a password is invited when it is enabled or its address changes. `confirm`
    raises if `by` has lost a permission meanwhile.
    """
    by.must("users:write")
    wanted = changes.model_dump(include={"email", "is_active"})
    if wanted:
        # Counting takes a connection of its own, so it comes before the transaction.
        known = await get_account(context.database.primary, SYSTEM, user_id)
        email, is_active = wanted.get("email", known.email), wanted.get("is_active", True)
        if _needs_invitation(known, email=email, is_active=is_active):
            await count_invitation(context, by)
    async with context.database.transaction() as session:
        before = await lock_account(session, SYSTEM, user_id=user_id)
        user = await _change(context, session, by, user_id, changes.model_dump())
        if before is not None:
            await _publish_changes(context, session, before, user)
        await confirm()
    return user


async def _change(
    context: Context, session: AsyncSession, by: Caller, user_id: UUID, values: dict[str, Any]
) -> UserOut:
    user, roles = await lock_manageable_user(session, by, user_id)
    changes_email = values.get("email", user.email) != user.email
    if user_id == by.user_id and values.get("is_verified", user.is_verified) != user.is_verified:
        raise PermissionDeniedError
    if changes_email and user_id != by.user_id:
        # The owner of the new mailbox can reset the password and take over the account.
        by.must("users:admin")
    await check_preconditions(lambda: to_schema(user, roles))
    if changes_email and user_id == by.user_id:
        # /users/me asks for the password and verifies the new address first.
        raise OwnEmailError
    if values.get("is_active") is False and user.is_active:
        await ensure_admin_remains(session, user, roles)
        # The database's clock, which also sets `created_at` of sessions: clocks of servers differ.
        now = await session.exec(select(func.clock_timestamp()))
        user.sessions_valid_after = now.one()
    if changes_email:
        values.setdefault("is_verified", False)
        user.pending_email = None
    return await store_changes(context, session, by, user, roles, values)


async def _publish_changes(
    context: Context, session: AsyncSession, before: Account, user: UserOut
) -> None:
    is_invited = _needs_invitation(before, email=user.email, is_active=user.is_active)
    if user.email != before.email:
        moved = EmailChanged(
            user.id, before.email, user.email, by_owner=False, is_invited=is_invited
        )
        await publish(context, session, moved)
    if is_invited:
        await publish(context, session, UsersInvited({user.id: user.email}))


def _needs_invitation(before: Account, *, email: str, is_active: bool) -> bool:
    reached = is_active and (not before.is_active or email != before.email)
    return reached and not before.has_password


async def invite_user(context: Context, by: Caller, user_id: UUID) -> None:
    """Mail the invitation of an account without a password again.

    Raise `InvitationRefusedError` if the account has a password or is disabled, or
    `RateLimitedError`.
    """
    by.must("users:write")
    await count_invitation(context, by)
    async with context.database.transaction() as session:
        user, roles = await lock_manageable_user(session, by, user_id)
        await check_preconditions(lambda: to_schema(user, roles))
        if user.password_hash is not None or not user.is_active:
            raise InvitationRefusedError
        await record(session, "user.invite", user_id, {}, {}, actor_id=by.user_id)
        await publish(context, session, UsersInvited({user_id: user.email}))


async def delete_user(
    context: Context, session: AsyncSession, by: Caller, user_id: UUID, *, confirm: Confirm
) -> None:
    """Delete the account and everything that belongs to it, in all modules.

    `confirm` raises if `by` has lost a permission meanwhile. It is not called if `by` deletes their
    own account.
    """
    by.must("users:delete")
    user, roles = await lock_manageable_user(session, by, user_id)
    await check_preconditions(lambda: to_schema(user, roles))
    await _delete(context, session, by, user, roles)
    if user_id != by.user_id:
        await confirm()


async def delete_me(context: Context, session: AsyncSession, by: Principal) -> None:
    """Delete the principal's own account, like `delete_user`."""
    user, roles = await lock_manageable_user(session, by, by.user_id)
    await check_preconditions(lambda: to_own_schema(user, roles))
    await _delete(context, session, by, user, roles)


async def _delete(
    context: Context, session: AsyncSession, by: Caller, user: User, roles: list[str]
) -> None:
    await ensure_admin_remains(session, user, roles)
    await erase_user(context, session, user.id)
    await session.delete(user)
    await session.flush()
    await record(session, "user.delete", user.id, {"roles": roles}, {}, actor_id=by.user_id)
    await publish(context, session, UserDeleted(user.id))


async def end_sessions(context: Context, session: AsyncSession, by: Caller, user_id: UUID) -> None:
    """End all sessions of an account. `by` needs every permission of the account."""
    by.must("users:admin")
    # A concurrent sign-in locks the account too, so its session begins before or after this.
    user, roles = await lock_manageable_user(session, by, user_id)
    await check_preconditions(lambda: to_schema(user, roles))
    await publish(context, session, SessionsRevoked(user_id, by.user_id))
