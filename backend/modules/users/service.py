"""Use cases of accounts. They check the permissions of `by` and publish events of `events.py`."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from functools import lru_cache
from uuid import UUID

from sqlalchemy import Subquery, delete
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context, ExportPages
from backend.core.events import publish
from backend.core.features import ADMIN_ROLE
from backend.core.lists import Page, read_all
from backend.core.preconditions import check_preconditions
from backend.core.principal import SYSTEM, Caller, Principal, System
from backend.db.base import utc_now
from backend.db.lists.pages import fetch_page
from backend.db.lists.specs import ListQuery
from backend.db.query_runner import QueryRunner
from backend.modules.roles import service as roles_service
from backend.modules.roles.exceptions import UnknownRoleError
from backend.modules.users import queries
from backend.modules.users.administration import (
    count_mailed_link,
    create_user,
    delete_me,
    delete_user,
    end_sessions,
    invite_user,
    update_user,
)
from backend.modules.users.bulk import create_users
from backend.modules.users.changes import (
    add_user,
    ensure_admin_remains,
    ensure_within_own_permissions,
    lock_manageable_user,
    lock_user,
    record,
    to_schema,
    unique_names,
)
from backend.modules.users.events import EmailChangeCancelled, EmailChanged, PasswordChanged
from backend.modules.users.exceptions import UserNotFoundError
from backend.modules.users.imports import ImportReport, import_users
from backend.modules.users.models import UserRole
from backend.modules.users.own_account import (
    author,
    authors,
    change_password,
    delete_avatar,
    get_me,
    password_change_errors,
    replace_avatar,
    update_me,
)
from backend.modules.users.password_attempts import (
    PASSWORD_ATTEMPTS,
    attempt_target,
    check_password,
    clear_failed_attempts,
    find_account,
    get_account,
    lock_account,
    store_password,
)
from backend.modules.users.passwords import hash_new_password, new_account_errors, password_errors
from backend.modules.users.schemas import (
    NO_PASSWORD,
    Account,
    NewUsers,
    UserOut,
    UserStatistics,
)
from backend.modules.users.settings import RegistrationMode, UserSettings

# Functions that other files of this module define.
__all__ = [
    "NO_PASSWORD",
    "PASSWORD_ATTEMPTS",
    "Account",
    "ImportReport",
    "add_user",
    "attempt_target",
    "author",
    "authors",
    "change_password",
    "check_password",
    "count_mailed_link",
    "create_user",
    "create_users",
    "delete_avatar",
    "delete_me",
    "delete_user",
    "end_sessions",
    "find_account",
    "get_account",
    "get_me",
    "hash_new_password",
    "import_users",
    "invite_user",
    "lock_account",
    "new_account_errors",
    "password_change_errors",
    "password_errors",
    "replace_avatar",
    "update_me",
    "update_user",
]


async def get_user(reader: QueryRunner, by: Caller, user_id: UUID) -> UserOut:
    """Return an account. Another one than the caller's needs the permission `users:read`."""
    if user_id != by.user_id:
        by.must("users:read")
    row = await reader.find(queries.USER, user_id)
    if row is None:
        raise UserNotFoundError
    return UserOut.from_row(row)


async def export_me(_: Context, reader: QueryRunner, by: Principal) -> ExportPages:
    """Yield the principal's account."""
    yield [await get_me(reader, by)]


async def list_users(reader: QueryRunner, by: Caller, query: ListQuery) -> Page[UserOut]:
    by.must("users:read")
    page = await fetch_page(reader, queries.USERS, query)
    return Page.from_rows(page, UserOut.from_row)


async def set_roles(
    session: AsyncSession, by: Caller, user_id: UUID, roles: Sequence[str]
) -> UserOut:
    """Replace the roles. `by` needs every permission of the old and the new roles."""
    by.must("users:admin")
    user, held = await lock_manageable_user(session, by, user_id)
    known = await roles_service.lock_existing(session, SYSTEM, roles)
    await ensure_within_own_permissions(session, by, sorted(known))
    await check_preconditions(lambda: to_schema(user, held))
    if unknown := [position for position, name in enumerate(roles) if name not in known]:
        raise UnknownRoleError(unknown)
    wanted = sorted(set(roles))
    if wanted == held:
        return to_schema(user, held)
    if ADMIN_ROLE not in wanted:
        await ensure_admin_remains(session, user, held)
    if removed := set(held).difference(wanted):
        await session.exec(
            delete(UserRole).where(
                col(UserRole.user_id) == user_id, col(UserRole.role_name).in_(removed)
            )
        )
    added = set(wanted).difference(held)
    session.add_all(UserRole(user_id=user_id, role_name=role) for role in added)
    user.updated_at = utc_now()
    await session.flush()
    changes = {"roles": held}, {"roles": wanted}
    await record(session, "user.roles", user_id, *changes, actor_id=by.user_id)
    return to_schema(user, wanted)


async def export_users(
    reader: QueryRunner, by: Caller, query: ListQuery
) -> AsyncIterator[list[UserOut]]:
    """Yield all accounts that match, in batches."""
    by.must("users:read")
    async for rows in read_all(reader, queries.USERS, query):
        yield [UserOut.from_row(row) for row in rows]


async def user_statistics(reader: QueryRunner, by: Principal, days: int) -> UserStatistics:
    """Count accounts, and those created on each of the last `days` days in UTC, today included."""
    by.must("users:read")
    today = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - timedelta(days=days - 1)
    # Counting reads the whole table.
    async with reader.expensive(by.user_id) as run:
        (counted,) = await run(queries.COUNTS)
        rows = await run(queries.NEW_PER_DAY, since=since)
    new = {row["date"]: row["count"] for row in rows}
    dates = [since.date() + timedelta(days=day) for day in range(days)]
    per_day = [NewUsers(date=date, count=new.get(date, 0)) for date in dates]
    return UserStatistics(**counted, new_per_day=per_day)


def access() -> Subquery:
    """Return a subquery of active accounts, for the statement of an authenticator to join.

    Its columns are user_id, permissions (one text) and sessions_valid_after. Sessions created
    earlier than that are not valid.
    """
    return queries.access()


@lru_cache(maxsize=1024)
def permission_set(joined: str | None) -> frozenset[str]:
    """Return the permissions in a text that `access()` selects."""
    return frozenset(joined.split()) if joined else frozenset()


def registration_mode(context: Context) -> RegistrationMode:
    return context.settings_of(UserSettings).registration_mode


async def verify_email(
    context: Context,
    session: AsyncSession,
    by: System,
    user_id: UUID,
    email: str | None = None,
) -> None:
    """Mark the address as verified, or replace it by the verified `email`.

    For trusted callers that have checked the mailed token. Raise `EmailAlreadyExistsError` if
    another account has taken the address.
    """
    by.must_be_system()
    user, _ = await lock_user(session, user_id)
    former = user.email
    values = {"is_verified": True, "email": email or user.email}
    before = {name: getattr(user, name) for name in values}
    async with unique_names(session):
        user.is_verified, user.email = True, email or user.email
        if email is not None:
            user.pending_email = None
    await record(session, "user.update", user_id, before, values, actor_id=user_id)
    if email is not None:
        await publish(context, session, EmailChanged(user_id, former, email, by_owner=True))


async def reset_password(
    context: Context, session: AsyncSession, by: System, user_id: UUID, password_hash: str
) -> None:
    """Set the password, mark the address as verified, and clear failed attempts.

    For trusted callers that have checked the mailed token.
    """
    by.must_be_system()
    await store_password(session, user_id, password_hash)
    await publish(context, session, EmailChangeCancelled(user_id))
    await verify_email(context, session, by, user_id)
    await clear_failed_attempts(context, session, user_id)
    await publish(context, session, PasswordChanged(user_id, keep_session=None))
