"""The data that modules hold about a user: declared in their manifests, collected here.

A module whose rows belong to users by a foreign key with ON DELETE CASCADE declares, for its list
`NOTES` with the scope `author`:

    module = Module(
        ...,
        export={"notes": owned(NOTES, "author")},
        erase=by_cascade,
        statistics=counts(NOTES, "author", notes=None),
    )

Other modules pass functions: `export={"drafts": ExportPart(DraftOut, service.export_drafts)}`, and
an eraser `async def erase(context, session, user_id)`, which may enqueue jobs for what is outside
of the database.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel, Field, create_model
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context, Counts, ExportPages, ExportPart, PersonalData
from backend.core.lists import ListQuery, ResourceList, read_all
from backend.core.module import Module
from backend.core.principal import Principal
from backend.core.schemas import Schema
from backend.db.base import Base
from backend.db.lists.specs import ListSpec
from backend.db.queries import Query
from backend.db.query_runner import QueryRunner

# Columns of these names refer to users, even without a foreign key.
REFERENCES = {"user_id", "owner_id", "author_id", "actor_id"}
# Actions of a foreign key after which no row refers to the deleted one.
_ERASING = {"CASCADE", "SET NULL"}


class AccountExport(Schema):
    """The data that the system holds about the caller: a member for each part."""


class AccountStatistics(Schema):
    """Numbers of the caller's rows."""


def owned(spec: ResourceList[Any], scope: str) -> ExportPart:
    """Return the part with all rows of a list whose scope `scope` is the user's id."""

    async def read(context: Context, reader: QueryRunner, by: Principal) -> ExportPages:
        async for rows in read_all(reader, spec, export_query(context), **{scope: by.user_id}):
            yield [spec.schema.from_row(row) for row in rows]

    return ExportPart(spec.schema, read)


def export_query(context: Context) -> ListQuery:
    """Return the query of `read_all` for all rows."""
    return ListQuery(cursor_key=context.cursor_key)


def counts(spec: ListSpec, scope: str, **conditions: sa.ColumnElement[bool] | None) -> Counts:
    """Return the numbers of rows of a list whose scope `scope` is the user's id, by name.

    Each counts the rows that fulfil its condition; None counts all of them.
    """
    columns = [
        (sa.func.count() if condition is None else sa.func.count().filter(condition)).label(name)
        for name, condition in conditions.items()
    ]
    statement = spec.statement.where(spec.condition(scope))
    counted = statement.with_only_columns(*columns, maintain_column_froms=True)
    return Counts(tuple(conditions), Query(counted), scope)


async def by_cascade(_context: Context, _session: AsyncSession, _user_id: UUID) -> None:
    """The eraser of a module whose rows PostgreSQL deletes together with the account.

    The registry checks the foreign keys.
    """


async def erase_user(context: Context, session: AsyncSession, user_id: UUID) -> None:
    """Erase what all modules hold about a user, in the transaction that deletes the account.

    Dependent modules come first. An exception rolls everything back.
    """
    for erase in context.personal_data.erasers:
        await erase(context, session, user_id)


async def read_statistics(context: Context, reader: QueryRunner, by: Principal) -> dict[str, int]:
    """Return the members of `AccountStatistics`; each module counts with one statement."""
    numbers: dict[str, int] = {}
    for each in context.personal_data.statistics:
        numbers |= await reader.first(each.query, **{each.owner: by.user_id}) or {}
    return numbers


async def read_export(context: Context, reader: QueryRunner, by: Principal) -> AsyncIterator[bytes]:
    """Yield a JSON object with the principal's data, piece by piece."""
    opening = b"{"
    for name, part in context.personal_data.export.items():
        # The name waits for the first rows: errors in reading them come before the first piece.
        before = opening + f'"{name}":'.encode()
        async for piece in _rendered(part, part.read(context, reader, by)):
            yield before + piece
            before = b""
        opening = b","
    yield b"}" if opening == b"," else b"{}"


async def _rendered(part: ExportPart, pages: ExportPages) -> AsyncIterator[bytes]:
    before = b"" if part.single else b"["
    async for rows in pages:
        yield before + b",".join(row.model_dump_json().encode() for row in rows)
        before = b","
    if not part.single:
        yield b"[]" if before == b"[" else b"]"


def personal_data_of(modules: Sequence[Module]) -> PersonalData:
    """Collect the declarations of the modules, which are in the order of the registry."""
    # The account is the first part of its export.
    owner_first = sorted(modules, key=lambda module: module.users_table is None)
    return PersonalData(
        export={
            name: part for module in owner_first for name, part in (module.export or {}).items()
        },
        statistics=[module.statistics for module in modules if module.statistics],
        erasers=[module.erase for module in reversed(modules) if module.erase],
    )


def contributed_schemas(data: PersonalData) -> Iterator[type[BaseModel]]:
    """Yield the schemas of export and statistics with the members that the modules contribute."""
    parts: dict[str, Any] = {
        name: (part.schema if part.single else list[part.schema], Field())  # type: ignore[name-defined]  # a class at run time
        for name, part in data.export.items()
    }
    numbers: dict[str, Any] = {
        name: (int, Field(ge=0)) for each in data.statistics for name in each.names
    }
    for base, members in ((AccountExport, parts), (AccountStatistics, numbers)):
        yield create_model(base.__name__, __base__=base, __doc__=base.__doc__, **members)


def personal_data_problems(modules: Iterable[Module]) -> Iterator[str]:
    """Yield a sentence with the remedy for each module that does not account for personal data."""
    modules = list(modules)
    users = next((module.users_table for module in modules if module.users_table), None)
    if users is None:
        return
    owners: dict[str, str] = {}
    for module in modules:
        yield from _declaration_problems(module, _table(users))
        for kind, declared in (
            ("part of the export", module.export or ()),
            ("number of the statistics", module.statistics.names if module.statistics else ()),
        ):
            for name in declared:
                other = owners.setdefault(f"{kind} '{name}'", module.name)
                if other != module.name:
                    yield f"Modules '{other}' and '{module.name}' both have a {kind} '{name}'."


def _declaration_problems(module: Module, users: sa.Table) -> Iterator[str]:
    columns = [column for table in _tables(module.name) for column in _references(table, users)]
    missing = [name for name in ("export", "erase") if getattr(module, name) is None]
    if columns and missing:
        yield (
            f"Module '{module.name}' has tables that refer to users ({', '.join(map(str, columns))}"
            f"): declare {' and '.join(f'`{name}`' for name in missing)} in its manifest; see "
            "backend.core.personal_data."
        )
    if module.erase is by_cascade:
        for column in columns:
            actions = {str(key.ondelete).upper() for key in column.foreign_keys}
            if not actions & _ERASING:
                yield (
                    f"Module '{module.name}' leaves erasure to foreign keys, but {column} has none "
                    "with ON DELETE CASCADE: add one, or declare an `erase` function."
                )


def _references(table: sa.Table, users: sa.Table) -> Iterator["sa.Column[Any]"]:
    for column in table.columns:
        if column.name in REFERENCES or any(
            key.target_fullname.rpartition(".")[0] == users.name for key in column.foreign_keys
        ):
            yield column


def _tables(module: str) -> Iterator[sa.Table]:
    """Yield the tables of the classes in the models.py of this module."""
    for mapper in Base._sa_registry.mappers:  # noqa: SLF001  # SQLModel has no public name for it
        if mapper.class_.__module__.split(".")[-2:] == [module, "models"]:
            yield _table(mapper.class_)


def _table(model: type[SQLModel]) -> sa.Table:
    table = sa.inspect(model).local_table
    assert isinstance(table, sa.Table)
    return table
