"""Rows that are inserted without mapped objects, whose unit of work costs more than a statement.

row = await insert_row(session, Note, {"text": new.text, "author_id": by.user_id})
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from sqlalchemy import Column, Table, insert
from sqlalchemy.dialects.postgresql.psycopg import dialect
from sqlmodel import SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.transactions import BoundStatement, TransactionSession

_DIALECT = dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


async def insert_row(
    session: AsyncSession, model: type[SQLModel], row: Mapping[str, Any]
) -> dict[str, Any]:
    """Insert a row, and return it with the model's defaults for the columns that it lacks.

    Like an object passed to `session.add`, the row is sent before the session's next statement, or
    else by its commit, which then takes one round trip instead of three. No mapper events run. An
    error of the row is raised there; to answer a violated constraint, use `constraint_errors`.
    Columns get the same defaults as those of objects, but a None in `row` is stored as NULL.
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
        compiled = insert(table).compile(dialect=_DIALECT, column_keys=columns)
        self._sql = compiled.string
        # Defaults of the columns themselves, except SQL expressions, which the statement contains.
        for column in compiled.insert_prefetch:
            self.defaults[column.key] = _column_default(column)
            columns.append(column.key)
        # Types whose values the driver does not know, such as JSON.
        processors = (
            (name, table.c[name].type.dialect_impl(_DIALECT).bind_processor(_DIALECT))
            for name in columns
        )
        self._processors = {name: process for name, process in processors if process is not None}

    def bound(self, row: dict[str, Any]) -> BoundStatement:
        if not self._processors:
            return BoundStatement(self._sql, row)
        changed = {name: process(row[name]) for name, process in self._processors.items()}
        return BoundStatement(self._sql, {**row, **changed})


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
