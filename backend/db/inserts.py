"""Rows that are inserted without mapped objects, whose unit of work costs more than a statement.

row = await insert_row(session, Note, {"text": new.text, "author_id": by.user_id})
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from sqlalchemy import Column, Table, insert
from sqlalchemy.sql.dml import ReturningInsert
from sqlalchemy.types import TypeEngine
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.queries import DIALECT, PARAMETER
from backend.db.transactions import GUARD, BoundStatement, TransactionSession


async def insert_row(
    session: AsyncSession, model: type[SQLModel], row: Mapping[str, Any]
) -> dict[str, Any]:
    """Insert a row, and return it with the model's defaults for the columns that it lacks.

    Like an object passed to `session.add`, the row is sent before the session's next statement, or
    else by its commit, which then takes one round trip instead of three. No mapper events run. An
    error of the row is raised there; to answer a violated constraint, use `constraint_errors`.
    Columns get the same defaults as those of objects, but a None in `row` is stored as NULL. The
    returned row lacks the columns that PostgreSQL fills: by a server default or an SQL expression.
    """
    prepared = _insert_of(model, tuple(row))
    whole = {**row, **{name: default() for name, default in prepared.defaults.items()}}
    statement = prepared.bound(whole)
    if not (isinstance(session, TransactionSession) and session.postpone(statement)):
        # Mapped objects that were added before, such as the row that this one refers to.
        await session.flush()
        await (await session.connection()).exec_driver_sql(statement.sql, statement.values)
    return whole


class _Insert:
    """An INSERT compiled for the columns that a caller passes and those that have defaults."""

    def __init__(self, model: type[SQLModel], passed: tuple[str, ...]) -> None:
        table: Table = model.__table__  # type: ignore[attr-defined]  # set by SQLModel's metaclass
        self.defaults = {
            name: default for name, default in _defaults_of(model, table) if name not in passed
        }
        columns = [*passed, *self.defaults]
        compiled = insert(table).inline().compile(dialect=DIALECT, column_keys=columns)
        self._sql = compiled.string
        into, _, values = self._sql.partition(" VALUES ")
        exists = f"EXISTS (SELECT FROM {GUARD})"
        self._guarded = f"{into} SELECT {values.removeprefix('(').removesuffix(')')} WHERE {exists}"
        # Defaults of the columns themselves, except SQL expressions, which the statement contains.
        for column in compiled.insert_prefetch:
            self.defaults[column.key] = _column_default(column)
            columns.append(column.key)
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        # Parameters of SQL expressions.
        self._constants = {
            name: bind.effective_value for name, bind in binds.items() if name not in columns
        }
        self._processors = _processors_of({name: bind.type for name, bind in binds.items()})

    def bound(self, row: dict[str, Any]) -> BoundStatement:
        values = {**self._constants, **row} if self._constants else row
        return BoundStatement(self._sql, _processed(values, self._processors), self._guarded)


class Guard:
    """A statement with RETURNING that decides whether a postponed row is inserted."""

    def __init__(self, statement: ReturningInsert[Any]) -> None:
        compiled = statement.compile(dialect=DIALECT)
        # Other names than those of the row's parameters, which are names of columns.
        self._sql = PARAMETER.sub(rf"%({GUARD} \1)s", compiled.string)
        self._defaults = {name: bind.effective_value for bind, name in compiled.bind_names.items()}
        kinds = {name: bind.type for bind, name in compiled.bind_names.items()}
        self._processors = _processors_of(kinds)

    def bound(self, values: Mapping[str, Any]) -> BoundStatement:
        """Return the statement for `commit_with`, with the values of its parameters."""
        whole = _processed({**self._defaults, **values}, self._processors)
        return BoundStatement(self._sql, {f"{GUARD} {name}": whole[name] for name in whole})


def _processors_of(kinds: Mapping[str, TypeEngine[Any]]) -> dict[str, Callable[[Any], Any]]:
    """Return what converts the values that the driver does not know, such as JSON."""
    found = {
        name: kind.dialect_impl(DIALECT).bind_processor(DIALECT) for name, kind in kinds.items()
    }
    return {name: process for name, process in found.items() if process is not None}


def _processed(
    row: Mapping[str, Any], processors: Mapping[str, Callable[[Any], Any]]
) -> Mapping[str, Any]:
    if not processors:
        return row
    return {**row, **{name: process(row[name]) for name, process in processors.items()}}


_insert_of = cache(_Insert)


def _defaults_of(model: type[SQLModel], table: Table) -> list[tuple[str, Callable[[], Any]]]:
    """Return the model's defaults by column.

    As in mapped objects, the default None is none for a column that gets a value otherwise.
    """
    return [
        (name, partial(field.get_default, call_default_factory=True))
        for name, field in model.model_fields.items()
        if name in table.c
        and not field.is_required()
        and not (
            field.get_default() is None
            and field.default_factory is None
            and _is_filled(table.c[name])
        )
    ]


def _is_filled(column: Column[Any]) -> bool:
    return column.primary_key or column.default is not None or column.server_default is not None


def _column_default(column: Column[Any]) -> Callable[[], Any]:
    default: Any = column.default
    # SQLAlchemy passes a context, which describes the statement of a mapped object.
    return partial(default.arg, None) if default.is_callable else lambda: default.arg
