"""Imports of accounts: all or none, with one statement per table and batch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Boolean, DateTime, Text, Uuid, bindparam, func, insert, or_, select
from sqlalchemy.dialects.postgresql import insert as insert_or_skip
from sqlalchemy.types import TypeEngine
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.addresses.account_names import name_key
from backend.core.context import Context
from backend.core.errors import SAFE_NAME
from backend.core.principal import SYSTEM, System
from backend.db.arrays import unnested
from backend.db.base import utc_now, uuid7
from backend.modules.audit import service as audit
from backend.modules.roles import service as roles_service
from backend.modules.users.exceptions import EmailAlreadyExistsError, UsernameAlreadyExistsError
from backend.modules.users.models import LONG_AGO, User, UserRole
from backend.modules.users.passwords import PasswordHasher, hasher_of
from backend.modules.users.schemas import ImportedUser

BATCH = 1_000
# The number of refused lines whose errors a report contains. It counts all of them.
NAMED = 20
_MESSAGES = {
    "extra_forbidden": "There is no such column.",
    "missing": "Is missing.",
    "string_pattern_mismatch": "Must be 3 to 50 of A to Z, a to z, 0 to 9, '.', '_' and '-'.",
}
_NO_HASH = (
    "password_hash: Must be a bcrypt hash ($2a$, $2b$ or $2y$) of a cost from 4 to 14. Without "
    "one, the account sets a password by a link that is mailed."
)
# The number of a line, and its values or the reason why it could not be read.
Line = tuple[int, dict[str, Any] | str]
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


async def create_users(
    session: AsyncSession, new: Sequence[NewUser], *, moment: datetime
) -> list[RowError]:
    """Store these accounts, their roles and an audit event for each; return the errors of rows.

    No mail is sent. After any error the caller must roll back, because some of the rows are
    stored. All calls of one transaction pass the same `moment`, which becomes `created_at`. It
    distinguishes duplicates within the import from names that older accounts have taken.
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


@dataclass(frozen=True, slots=True)
class LineError:
    """The reason why a line is refused, without values of the line."""

    line: int
    reason: str


@dataclass
class ImportReport:
    """The numbers of accepted and refused lines, and the errors of the first refused ones."""

    accepted: int = 0
    refused: int = 0
    errors: list[LineError] = field(default_factory=list)

    def refuse(self, line: int, reasons: Sequence[str]) -> None:
        self.refused += 1
        if self.refused <= NAMED:
            self.errors += [LineError(line, reason) for reason in reasons]


class _RolledBackError(Exception):
    """Rolls back the transaction of an import."""


async def import_users(
    context: Context,
    by: System,
    lines: Iterable[Line],
    *,
    dry_run: bool,
    progress: Callable[[], None] = lambda: None,
) -> ImportReport:
    """Create the accounts of all lines, or none of them after an error or in a dry run.

    For trusted callers. No mail is sent. `progress` is called after each batch. If `lines` raises,
    the exception propagates and nothing is stored.
    """
    by.must_be_system()
    report, hasher, moment = ImportReport(), hasher_of(context), utc_now()
    async with context.database.transaction() as session:
        # Roles are created at the first start of the API, which may not have happened yet.
        await roles_service.sync(session, SYSTEM, context.features)
    with suppress(_RolledBackError):
        async with context.database.transaction() as session:
            for batch in _batches(lines):
                users, refused = _validated(batch, hasher)
                numbers = list(users)
                for error in await create_users(session, list(users.values()), moment=moment):
                    reason = f"{error.field}: {error.message}"
                    refused.setdefault(numbers[error.index], []).append(reason)
                for line, reasons in sorted(refused.items()):
                    report.refuse(line, reasons)
                report.accepted += len(batch) - len(refused)
                progress()
            if report.refused or dry_run:
                raise _RolledBackError
    return report


def _batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    for line in lines:
        batch.append(line)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _validated(
    lines: Sequence[Line], hasher: PasswordHasher
) -> tuple[dict[int, NewUser], dict[int, list[str]]]:
    """Return the valid accounts, and the errors of the other lines, both by line number."""
    users: dict[int, NewUser] = {}
    refused: dict[int, list[str]] = {}
    for number, values in lines:
        if isinstance(values, str):
            refused[number] = [values]
            continue
        try:
            user = ImportedUser.model_validate(_without_empty(values))
        except ValidationError as error:
            refused[number] = _reasons(error)
            continue
        password_hash = user.password_hash
        if password_hash is not None and hasher.unusable_scheme(password_hash):
            refused[number] = [_NO_HASH]
            continue
        users[number] = NewUser(**{**dict(user), "roles": sorted(set(user.roles))})
    return users, refused


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values without empty cells, which count as absent."""
    return {
        name: value
        for name, value in values.items()
        if value is not None and not (isinstance(value, str) and not value.strip())
    }


def _reasons(error: ValidationError) -> list[str]:
    """Return one sentence per error, without the refused values."""
    reasons = []
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        name = str(each["loc"][0])
        message = _MESSAGES.get(each["type"], each["msg"].removeprefix("Value error, "))
        shown = name if SAFE_NAME.fullmatch(name) else "a column"
        reasons.append(f"{shown}: {message.rstrip('.')}.")
    return reasons
