"""Queries: SELECTs that are compiled to SQL once."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ARRAY, Column, Select, SQLColumnExpression, String, bindparam, func
from sqlalchemy.dialects.postgresql.psycopg import dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from backend.db.keyed_reads import MAX_KEYS

DIALECT = dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


# The column of `SharedQuery.together` with the number of the caller, from 1. A statement of its own
# contains no such names, because identifiers of modules have no spaces.
CALLER = "caller number"
_CALLERS = '"all callers"'
_ROWS = '"rows of a caller"'
_SCALARS = {bool, date, datetime, Decimal, float, int, str, UUID}
# A parameter in compiled SQL.
PARAMETER = re.compile(r"%\((\w+)\)s")


class Query:
    """A SELECT compiled to SQL once, so that execution skips SQLAlchemy.

    Parameters are `bindparam("name")` without a value. Build queries at import time, or once per
    combination of clauses; never per request.
    """

    __slots__ = ("_defaults", "sql")

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        compiled = statement.compile(dialect=DIALECT)
        self.sql = compiled.string
        self._defaults = {
            compiled.bind_names[bind]: bind.effective_value for bind in compiled.bind_names
        }

    def parameters(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._defaults, **values}


class Statement(Query):
    """A statement in SQL that returns rows, such as `INSERT ... RETURNING`."""

    __slots__ = ()

    def __init__(self, sql: str, defaults: Mapping[str, Any] | None = None) -> None:
        self.sql = sql
        self._defaults = dict(defaults or {})


class KeyedQuery(Query):
    """A SELECT of rows by a unique id, of which `QueryRunner.find` reads one.

    `key` is a column that the statement selects by its name. There are no parameters and no LIMIT:
    the statement reads several rows for concurrent callers, at most `max_keys`. With 1, each caller
    has a statement of its own. Raise `TypeError` for other statements.
    """

    __slots__ = ("key", "max_keys")

    def __init__(
        self,
        statement: Select[*tuple[Any, ...]],
        key: SQLColumnExpression[UUID],
        max_keys: int = MAX_KEYS,
    ) -> None:
        column = cast("Column[UUID]", key)
        self.key: str = column.key
        self.max_keys = min(max_keys, MAX_KEYS)
        selected = statement.selected_columns.get(self.key)
        if selected is None or not selected.shares_lineage(column.expression):
            raise TypeError(f"The statement must select its key, {column}, as {self.key}.")
        compiled = statement.compile(dialect=DIALECT)
        unlimited = statement.limit(None).offset(None).compile(dialect=DIALECT)
        has_parameters = any(bind.required for bind in compiled.bind_names)
        if has_parameters or unlimited.string != compiled.string:
            raise TypeError("The statement of a keyed query has no parameters and no LIMIT.")
        super().__init__(statement.where(key == func.any(bindparam("keys"))))


class NotSharedError(TypeError):
    """Callers cannot share a statement, because a parameter is not a scalar."""


class SharedQuery(Query):
    """A SELECT that concurrent callers of `QueryRunner.shared` run as one statement.

    Each caller has values of its own for the parameters in `own`; those in `common` are equal for
    all callers of a statement. `order` contains the selected columns by which the rows are sorted,
    and whether each is descending. `together` is the statement for several callers: its parameters
    in `own` are arrays, and its rows have the further column `CALLER`. Raise `NotSharedError` if a
    parameter in `own` is not a scalar.
    """

    __slots__ = ("common", "own", "together")

    def __init__(
        self,
        statement: Select[*tuple[Any, ...]],
        *,
        common: Sequence[str] = (),
        order: Sequence[tuple[str, bool]] = (),
    ) -> None:
        super().__init__(statement)
        compiled = statement.compile(dialect=DIALECT)
        types = {
            name: bind.type
            for bind, name in compiled.bind_names.items()
            if bind.required and name not in common
        }
        if others := [name for name, kind in types.items() if python_type(kind) not in _SCALARS]:
            raise NotSharedError(f"Parameters of shared queries are scalars: {', '.join(others)}.")
        self.common = tuple(common)
        self.own = tuple(types)
        arrays = [
            str(bindparam(name, type_=ARRAY(_unlimited(kind))).compile(dialect=DIALECT))
            for name, kind in types.items()
        ]
        alone = PARAMETER.sub(
            lambda found: f'{_CALLERS}."{found[1]}"' if found[1] in types else found[0], self.sql
        )
        names = ", ".join(f'"{name}"' for name in (*types, CALLER))
        number = f'{_CALLERS}."{CALLER}"'
        sorting = [
            f'{_ROWS}."{name}" DESC' if down else f'{_ROWS}."{name}"' for name, down in order
        ]
        together = (
            f"SELECT {_ROWS}.*, {number}",
            f"FROM unnest({', '.join(arrays)}) WITH ORDINALITY AS {_CALLERS}({names})",
            f"CROSS JOIN LATERAL ({alone}) AS {_ROWS}",
            f"ORDER BY {', '.join([number, *sorting])}",
        )
        self.together = Statement("\n".join(together), self._defaults)


def _unlimited(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the type without a length, to which a cast of an array would cut its texts."""
    return String(collation=kind.collation) if isinstance(kind, String) else kind


def python_type(kind: TypeEngine[Any]) -> type:
    """Return the type of the values that the driver reads; `object` if it is not known."""
    try:
        return (kind.impl_instance if isinstance(kind, TypeDecorator) else kind).python_type
    except NotImplementedError:
        return object
