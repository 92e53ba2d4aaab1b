"""Many accounts at once, with one statement for each table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, DateTime, Text, Uuid, bindparam, func, insert, or_, select
from sqlalchemy.dialects.postgresql import insert as insert_or_skip
from sqlalchemy.types import TypeEngine
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.addresses.account_names import name_key
from backend.db.arrays import unnested
from backend.db.base import uuid7
from backend.modules.audit import service as audit
from backend.modules.roles import service as roles_service
from backend.modules.users.exceptions import EmailAlreadyExistsError, UsernameAlreadyExistsError
from backend.modules.users.models import LONG_AGO, User, UserRole

_USERS = User.__table__  # type: ignore[attr-defined]  # set by SQLModel's metaclass
_USER_ROLES = UserRole.__table__  # type: ignore[attr-defined]  # the same
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
_DETAILS = {
    ("email", False): EmailAlreadyExistsError.detail,
    ("email", True): "An earlier row has this e-mail address.",
    ("username", False): UsernameAlreadyExistsError.detail,
    ("username", True): "An earlier row has this username.",
}


@dataclass(frozen=True, slots=True)
class NewUser:
    """An account to be made, all of it validated."""

    email: str
    username: str | None
    full_name: str | None
    password_hash: str | None
    is_active: bool
    is_verified: bool
    roles: Sequence[str]


@dataclass(frozen=True, slots=True)
class RowError:
    """Why one of several rows is refused. `code` is taken, duplicate or unknown_role."""

    index: int
    field: str
    code: str
    message: str


async def create_users(
    session: AsyncSession, new: Sequence[NewUser], *, moment: datetime
) -> list[RowError]:
    """Store these accounts, their roles and an audit event for each; nobody is mailed.

    After any error the caller rolls back: some rows are stored, others are not. Rows of one
    transaction that is written in several calls have the same `moment`, which becomes their
    `created_at`; by it a duplicate is told from an address that an older account has.
    """
    known = await roles_service.lock_existing(session, {role for row in new for role in row.roles})
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
    if errors:
        return sorted(errors, key=lambda error: error.index)
    held = [(row["id"], role) for row, user in zip(values, new, strict=True) for role in user.roles]
    user_ids, names = [id for id, _ in held], [name for _, name in held]
    await connection.execute(_INSERT_ROLES, {"user_id": user_ids, "role_name": names})
    await audit.record_all(
        session,
        "user.create",
        target_type="user",
        changes={
            row["id"]: audit.changes_of(
                {},
                {
                    "is_active": user.is_active,
                    "is_verified": user.is_verified,
                    "roles": sorted(user.roles),
                },
            )
            for row, user in zip(values, new, strict=True)
        },
    )
    return []


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
    """Errors by row: reasons why the row cannot be stored."""
    wanted: dict[str, Any] = {
        f"{key}s": [row[key] for row in skipped.values() if row[key] is not None]
        for key in ("email_key", "username_key")
    }
    connection = await session.connection()
    owners = (await connection.execute(_OWNERS, {**wanted, "moment": moment})).all()
    by_email = {owner.email_key: owner.is_new for owner in owners}
    by_username = {owner.username_key: owner.is_new for owner in owners if owner.username_key}
    return [
        RowError(index, field, "duplicate" if found[key] else "taken", _DETAILS[field, found[key]])
        for index, row in skipped.items()
        for field, found in (("email", by_email), ("username", by_username))
        if (key := row[f"{field}_key"]) in found
    ]
