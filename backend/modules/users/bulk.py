"""Creation of many accounts: all of them or none, with one statement per table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import MISSING
from sqlalchemy import Boolean, DateTime, Text, Uuid, bindparam, func, insert, or_, select
from sqlalchemy.dialects.postgresql import insert as insert_or_skip
from sqlalchemy.types import TypeEngine
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.addresses.account_names import name_key
from backend.core.constraints import deadlocks_are_conflicts
from backend.core.context import Context
from backend.core.errors import AppError, FieldError, InvalidInputError
from backend.core.events import publish
from backend.core.principal import SYSTEM, Caller
from backend.core.schemas import Bulk
from backend.core.stored_responses import add_subjects
from backend.db.arrays import unnested
from backend.db.base import utc_now, uuid7
from backend.modules.audit import service as audit
from backend.modules.roles import service as roles_service
from backend.modules.users.administration import Confirm, count_invitation
from backend.modules.users.changes import ensure_within_own_permissions, lock_for_bulk
from backend.modules.users.events import UsersInvited
from backend.modules.users.exceptions import EmailAlreadyExistsError, UsernameAlreadyExistsError
from backend.modules.users.models import LONG_AGO, User, UserRole
from backend.modules.users.schemas import DEFAULT_ROLE, InvitedUser, UserOut

_USERS = User.__table__  # type: ignore[attr-defined]  # set by SQLModel's metaclass
_USER_ROLES = UserRole.__table__  # type: ignore[attr-defined]  # set by SQLModel's metaclass
_COLUMNS: dict[str, type[TypeEngine[Any]]] = {
    "id": Uuid,
    "email": Text,
    "email_key": Text,
    "username": Text,
    "username_key": Text,
    "full_name": Text,
    "password_hash": Text,
    "is_active": Boolean,
    "is_verified": Boolean,
}
_NEW = unnested(_COLUMNS)
_MOMENT = bindparam("moment", type_=DateTime(timezone=True))
_INSERT_USERS = (
    insert_or_skip(_USERS)
    .from_select(
        [*_COLUMNS, "created_at", "updated_at", "sessions_valid_after"],
        select(*_NEW.c, _MOMENT, _MOMENT, bindparam("long_ago", LONG_AGO, DateTime(timezone=True))),
    )
    .on_conflict_do_nothing()
    .returning(_USERS.c.id)
)
_HELD = unnested({"user_id": Uuid, "role_name": Text})
_INSERT_ROLES = insert(_USER_ROLES).from_select(_HELD.c.keys(), select(*_HELD.c))
_OWNERS = select(
    col(User.email_key), col(User.username_key), (col(User.created_at) == _MOMENT).label("is_new")
).where(
    or_(
        col(User.email_key) == func.any(bindparam("email_keys")),
        col(User.username_key) == func.any(bindparam("username_keys")),
    )
)
_SHOWN = ("id", "email", "username", "full_name", "is_active", "is_verified")
_DETAILS = {
    ("email", False): EmailAlreadyExistsError.detail,
    ("email", True): "An earlier row has this e-mail address.",
    ("username", False): UsernameAlreadyExistsError.detail,
    ("username", True): "An earlier row has this username.",
}


@dataclass(frozen=True, slots=True)
class NewUser:
    """A validated account to store."""

    email: str
    username: str | None
    full_name: str | None
    password_hash: str | None
    is_active: bool
    is_verified: bool
    roles: Sequence[str]


@dataclass(frozen=True, slots=True)
class RowError:
    """The reason why a row is refused. `code` is taken, duplicate or unknown_role."""

    index: int
    field: str
    code: str
    message: str


class StoredUsers(NamedTuple):
    """Accounts that were stored, or the errors of rows."""

    users: list[UserOut]
    errors: list[RowError]


async def create_users(
    context: Context,
    session: AsyncSession,
    by: Caller,
    new: Sequence[InvitedUser],
    *,
    confirm: Confirm,
) -> Bulk[UserOut]:
    """Create accounts without passwords, and mail each an invitation.

    Raise `PermissionDeniedError` if a requested role has a permission that `by` lacks, and
    `ServiceUnavailableError` during an import of accounts. `confirm` raises if `by` has lost a
    permission meanwhile. All invitations together count as one mailed link of the client.
    """
    by.must("users:write")
    requested = {role for user in new if user.roles is not MISSING for role in user.roles}
    if any(user.roles is not MISSING for user in new):
        by.must("users:admin")
    await count_invitation(context, by)
    await lock_for_bulk(session)
    known = await roles_service.lock_existing(session, SYSTEM, requested)
    await ensure_within_own_permissions(session, by, sorted(known))
    rows = [_without_password(user) for user in new]
    with deadlocks_are_conflicts():
        stored = await store_users(session, rows, moment=utc_now())
    if stored.errors:
        raise _refusal(stored.errors)
    await publish(context, session, UsersInvited({user.id: user.email for user in stored.users}))
    await confirm()
    return Bulk(data=stored.users)


def _without_password(user: InvitedUser) -> NewUser:
    roles = [DEFAULT_ROLE] if user.roles is MISSING else sorted(set(user.roles))
    return NewUser(**{**dict(user), "roles": roles, "password_hash": None})


def _refusal(errors: Sequence[RowError]) -> AppError:
    """Return the 409 if all names are taken by other accounts, and the 422 otherwise."""
    fields = [
        FieldError(
            field=f"body.data.{error.index}.{error.field}", message=error.message, code=error.code
        )
        for error in errors
    ]
    if any(error.code != "taken" for error in errors):
        return InvalidInputError(errors=fields)
    if any(error.field == "email" for error in errors):
        return EmailAlreadyExistsError(errors=fields)
    return UsernameAlreadyExistsError(errors=fields)


async def store_users(
    session: AsyncSession, new: Sequence[NewUser], *, moment: datetime
) -> StoredUsers:
    """Store these accounts, their roles and an audit event for each.

    The caller holds the lock for imports or bulk. No mail is sent. After any error it must roll
    back, because some of the rows are stored. All calls of one transaction pass the same `moment`,
    the `created_at` of all; by it, duplicates differ from names that older accounts have taken.
    """
    wanted = {role for row in new for role in row.roles}
    known = await roles_service.lock_existing(session, SYSTEM, wanted)
    errors = [
        RowError(index, "roles", "unknown_role", "One of the roles does not exist.")
        for index, row in enumerate(new)
        if not known.issuperset(row.roles)
    ]
    values = [_values(row) for row in new]
    connection = await session.connection()
    columns = {name: [row[name] for row in values] for name in _COLUMNS}
    stored = await connection.execute(_INSERT_USERS, {**columns, "moment": moment})
    ids = set(stored.scalars())
    skipped = {index: row for index, row in enumerate(values) if row["id"] not in ids}
    if skipped:
        errors += await _refusals(session, skipped, moment)
        # The account that had the name may be deleted by now.
        explained = {error.index for error in errors}
        errors += [
            RowError(index, "email", "taken", _DETAILS["email", False])
            for index in skipped.keys() - explained
        ]
    if errors:
        return StoredUsers([], sorted(errors, key=lambda error: error.index))
    users = [
        UserOut(
            **{name: row[name] for name in _SHOWN},
            roles=list(user.roles),
            avatar_url=None,
            created_at=moment,
            updated_at=moment,
        )
        for row, user in zip(values, new, strict=True)
    ]
    add_subjects(session, ids)
    held = [(user.id, role) for user in users for role in user.roles]
    user_ids, names = [id for id, _ in held], [name for _, name in held]
    await connection.execute(_INSERT_ROLES, {"user_id": user_ids, "role_name": names})
    recorded = {"is_active", "is_verified", "roles"}
    await audit.record_all(
        session,
        "user.create",
        target_type="user",
        changes={
            user.id: audit.changes_of({}, user.model_dump(include=recorded)) for user in users
        },
    )
    return StoredUsers(users, [])


def _values(row: NewUser) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "email": row.email,
        "email_key": name_key(row.email),
        "username": row.username,
        "username_key": None if row.username is None else name_key(row.username),
        "full_name": row.full_name,
        "password_hash": row.password_hash,
        "is_active": row.is_active,
        "is_verified": row.is_verified,
    }


async def _refusals(
    session: AsyncSession, skipped: Mapping[int, Mapping[str, Any]], moment: datetime
) -> list[RowError]:
    """Return the errors of rows that were skipped because of a unique key."""
    wanted: dict[str, Any] = {
        f"{key}s": [row[key] for row in skipped.values() if row[key] is not None]
        for key in ("email_key", "username_key")
    }
    connection = await session.connection()
    owners = (await connection.execute(_OWNERS, {**wanted, "moment": moment})).all()
    by_email = {owner.email_key: owner.is_new for owner in owners}
    by_username = {owner.username_key: owner.is_new for owner in owners if owner.username_key}
    return [
        RowError(
            index, field, "duplicate" if is_new[key] else "taken", _DETAILS[field, is_new[key]]
        )
        for index, row in skipped.items()
        for field, is_new in (("email", by_email), ("username", by_username))
        if (key := row[f"{field}_key"]) in is_new
    ]
