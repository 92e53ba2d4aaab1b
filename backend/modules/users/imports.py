"""Imports of accounts from files: all or none."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from backend.core.context import Context
from backend.core.errors import SAFE_NAME
from backend.core.principal import SYSTEM, System
from backend.db.base import utc_now
from backend.modules.roles import service as roles_service
from backend.modules.users.bulk import NewUser, store_users
from backend.modules.users.changes import lock_for_import
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
            await lock_for_import(session)
            for batch in _batches(lines):
                users, refused = _validated(batch, hasher)
                numbers = list(users)
                stored = await store_users(session, list(users.values()), moment=moment)
                for error in stored.errors:
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
