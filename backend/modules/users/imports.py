"""Accounts that a file brings, all of them or none."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from backend.core.context import Context
from backend.core.http.strict_json import JSONRefusedError, loads
from backend.core.schemas import Email, Schema, Trimmed
from backend.db.base import utc_now
from backend.modules.roles import service as roles_service
from backend.modules.users.bulk import NewUser, create_users
from backend.modules.users.import_files import SHOWN, Line, lines_of, opened, position
from backend.modules.users.passwords import PasswordHasher, hasher_of
from backend.modules.users.schemas import DEFAULT_ROLE, FullName, Username

BATCH = 1_000
# Of the refused lines, so many are named; the others are counted.
NAMED = 20
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_MESSAGES = {
    "extra_forbidden": "There is no such column.",
    "missing": "Is missing.",
    "string_pattern_mismatch": "Must be 3 to 50 of A to Z, a to z, 0 to 9, '.', '_' and '-'.",
}
_NO_HASH = (
    "password_hash: Must be a bcrypt hash ($2a$, $2b$ or $2y$) of a cost from 4 to 14. Without "
    "one, the account sets a password by a link that is mailed."
)
Position = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class LineError:
    """Why a line is refused, without anything that it holds."""

    line: int
    reason: str


@dataclass
class ImportReport:
    """`accepted` and `refused` count lines; `errors` are of the first that were refused."""

    accepted: int = 0
    refused: int = 0
    errors: list[LineError] = field(default_factory=list)

    def refuse(self, line: int, reasons: Sequence[str]) -> None:
        self.refused += 1
        if self.refused <= NAMED:
            self.errors += [LineError(line, reason) for reason in reasons]


class _RolledBackError(Exception):
    """Takes back what the transaction has written so far."""


def _flag(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    found = _FLAGS.get(str(value).strip().casefold())
    if found is None:
        raise ValueError("Must be true, false, 1, 0, yes or no.")
    return found


def _roles(value: Any) -> Any:
    """`member;editor` as well as a list, which CSV writes as JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return loads(value.encode())
        except JSONRefusedError:
            raise ValueError("Must be names separated by ';', or a list in JSON.") from None
    return [name for name in map(str.strip, value.split(";")) if name]


Flag = Annotated[bool, BeforeValidator(_flag)]


class ImportedUser(Schema):
    email: Email
    username: Username | None = None
    full_name: FullName | None = None
    is_active: Flag = True
    is_verified: Flag = False
    roles: Annotated[list[Annotated[str, Trimmed(50)]], BeforeValidator(_roles)] = Field(
        default=[DEFAULT_ROLE], max_length=50
    )
    password_hash: str | None = None


async def import_users(
    context: Context, path: Path, *, dry_run: bool, progress: Position = lambda _: None
) -> ImportReport:
    """Make the accounts of all lines, or of none: not after an error, and not in a dry run.

    `progress` is told how many bytes of the file are read. Nobody is mailed. `OSError` or
    `ImportRefusedError` for a file that cannot be read.
    """
    report, hasher, moment = ImportReport(), hasher_of(context), utc_now()
    async with context.database.transaction() as session:
        # Before the first start of the API there are no roles yet.
        await roles_service.sync(session, context.features)
    with suppress(_RolledBackError), opened(path) as file:
        async with context.database.transaction() as session:
            for lines in _batches(lines_of(file, path, tuple(ImportedUser.model_fields))):
                users, refused = _validated(lines, hasher)
                numbers = list(users)
                for error in await create_users(session, list(users.values()), moment=moment):
                    reason = f"{error.field}: {error.message}"
                    refused.setdefault(numbers[error.index], []).append(reason)
                for line, reasons in sorted(refused.items()):
                    report.refuse(line, reasons)
                report.accepted += len(lines) - len(refused)
                progress(position(file))
            if report.refused or dry_run:
                raise _RolledBackError
    return report


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
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
    """By their lines, the accounts that are in order, and what is wrong with the others."""
    users: dict[int, NewUser] = {}
    refused: dict[int, list[str]] = {}
    for number, values in lines:
        if isinstance(values, str):
            refused[number] = [values]
            continue
        try:
            made = ImportedUser.model_validate(_given(values))
        except ValidationError as error:
            refused[number] = _reasons(error)
            continue
        stored = made.password_hash
        if stored is not None and hasher.unusable_scheme(stored):
            refused[number] = [_NO_HASH]
            continue
        users[number] = NewUser(**{**dict(made), "roles": sorted(set(made.roles))})
    return users, refused


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without empty ones: an empty cell is one that is not there."""
    return {
        name: value
        for name, value in values.items()
        if value is not None and not (isinstance(value, str) and not value.strip())
    }


def _reasons(error: ValidationError) -> list[str]:
    """In words that repeat no value."""
    reasons = []
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        name = str(each["loc"][0])
        message = _MESSAGES.get(each["type"], each["msg"].removeprefix("Value error, "))
        shown = name if SHOWN.fullmatch(name) else "a column"
        reasons.append(f"{shown}: {message.rstrip('.')}.")
    return reasons
