"""Collections: filters, sort, search and keyset pages, declared once and reused by every module.

A module declares a `Listing`; `fetch_page` answers any `ListQuery` over it with one statement,
whose text depends only on which parameters are present and is therefore compiled once.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    SQLColumnExpression,
    TypeDecorator,
    and_,
    bindparam,
    func,
    or_,
    tuple_,
)

from backend.db.cursors import decode_cursor, encode_cursor
from backend.db.reads import Query, Reads, Row

Condition = Callable[[BindParameter[Any]], ColumnElement[bool]]
Column = SQLColumnExpression[Any]
Term = tuple[ColumnElement[Any], bool]  # and whether it descends
RANK = "rank"


@dataclass(frozen=True)
class Filter:
    """A query parameter: its type as the client writes it, and the condition it sets."""

    type: Any
    condition: Condition
    description: str = ""


@dataclass(frozen=True)
class Search:
    """What `q` does. With a `rank` (a float; best first) results come in rank order.

    `prepare` makes the value that the condition and the rank are given.
    """

    condition: Condition
    rank: Callable[[BindParameter[Any]], ColumnElement[float]] | None = None
    prepare: Callable[[str], Any] = str
    description: str = "Search."


def containing(part: str) -> str:
    """A LIKE pattern for texts that hold `part`, whose own `%` and `_` mean themselves."""
    escaped = part.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"


@dataclass(frozen=True, eq=False)
class Listing:
    """A collection as clients may ask for it.

    `statement` selects the columns of a row. `key` is unique and breaks ties. `sorts` are never
    NULL. `scopes` are conditions that only the service sets, such as who may see a row.
    """

    name: str
    statement: Select[*tuple[Any, ...]]
    key: Column
    sorts: Mapping[str, Column]
    default_sort: str = "-created_at"
    filters: Mapping[str, Filter] = field(default_factory=dict)
    scopes: Mapping[str, Condition] = field(default_factory=dict)
    search: Search | None = None

    def condition(self, name: str) -> ColumnElement[bool]:
        if name == "q" and self.search:
            return self.search.condition(bindparam("q"))
        made = self.filters[name].condition if name in self.filters else self.scopes[name]
        return made(bindparam(name))


@dataclass(frozen=True)
class ListQuery:
    """One request for a page. `sort` names fields, a leading `-` meaning descending."""

    cursor_key: bytes
    limit: int = 20
    cursor: str | None = None
    offset: int = 0
    sort: tuple[str, ...] = ()
    total: bool = False
    q: str | None = None
    filters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RowPage:
    rows: list[Row]
    next_cursor: str | None
    total: int | None


async def fetch_page(reads: Reads, listing: Listing, query: ListQuery, **scopes: Any) -> RowPage:
    """The asked page. `InvalidCursorError` for a cursor of another list, sort, filter or scope."""
    values = {**query.filters, **scopes}
    if query.q is not None and listing.search:
        values["q"] = listing.search.prepare(query.q)
    names = tuple(sorted(values))
    sort = _effective_sort(listing, query)
    shape = _shape(listing, names, sort, query.cursor is not None)
    binding = _binding(listing.name, sort, values)
    total = None
    if query.total:
        counted = await reads.first(_count(listing, names), **values)
        total = counted["count"] if counted else 0
    if query.cursor is not None:
        keys = decode_cursor(query.cursor, shape.types, binding=binding, key=query.cursor_key)
        values.update(zip(shape.binds, keys, strict=True))
    rows = await reads.all(
        shape.query, page_limit=query.limit + 1, page_offset=query.offset, **values
    )
    next_cursor = None
    if len(rows) > query.limit:
        rows.pop()
        last = [rows[-1][column] for column in shape.columns]
        next_cursor = encode_cursor(last, binding=binding, key=query.cursor_key)
    for column in shape.extra_columns:
        for row in rows:
            del row[column]
    return RowPage(rows, next_cursor, total)


@dataclass(frozen=True)
class _Shape:
    """A compiled page statement, and where its sort keys are found in a row."""

    query: Query
    columns: tuple[str, ...]
    extra_columns: tuple[str, ...]
    types: tuple[type, ...]
    binds: tuple[str, ...]


def _effective_sort(listing: Listing, query: ListQuery) -> tuple[str, ...]:
    if query.sort:
        return query.sort
    ranked = query.q is not None and listing.search and listing.search.rank
    return (f"-{RANK}",) if ranked else (listing.default_sort,)


def _binding(name: str, sort: Sequence[str], values: Mapping[str, Any]) -> bytes:
    return json.dumps([name, sort, values], default=str, sort_keys=True).encode()


def _filtered(listing: Listing, names: tuple[str, ...]) -> Select[*tuple[Any, ...]]:
    return listing.statement.where(*(listing.condition(name) for name in names))


@lru_cache(maxsize=256)
def _count(listing: Listing, names: tuple[str, ...]) -> Query:
    statement = _filtered(listing, names).with_only_columns(
        func.count().label("count"), maintain_column_froms=True
    )
    return Query(statement)


@lru_cache(maxsize=1024)
def _shape(listing: Listing, names: tuple[str, ...], sort: tuple[str, ...], after: bool) -> _Shape:
    statement = _filtered(listing, names)
    terms = [_term(listing, part) for part in sort]
    # The tie-break runs the way of the last field, so that one index can serve both.
    terms.append((cast("ColumnElement[Any]", listing.key), terms[-1][1]))
    columns: list[str] = []
    extra: list[str] = []
    for position, (expression, _) in enumerate(terms):
        selected = statement.selected_columns.corresponding_column(expression)
        name = f"sort_key_{position}" if selected is None else str(selected.key)
        if selected is None:
            extra.append(name)
            statement = statement.add_columns(expression.label(name))
        columns.append(name)
    binds = tuple(f"after_{position}" for position in range(len(terms)))
    if after:
        statement = statement.where(_after(terms, binds))
    statement = (
        statement.order_by(*(e.desc() if down else e.asc() for e, down in terms))
        .limit(bindparam("page_limit"))
        .offset(bindparam("page_offset"))
    )
    types = tuple(_python_type(expression) for expression, _ in terms)
    return _Shape(Query(statement), tuple(columns), tuple(extra), types, binds)


def _python_type(expression: ColumnElement[Any]) -> type:
    kind = expression.type
    return (kind.impl_instance if isinstance(kind, TypeDecorator) else kind).python_type


def _term(listing: Listing, part: str) -> Term:
    name = part.removeprefix("-")
    if name == RANK and listing.search and listing.search.rank:
        return listing.search.rank(bindparam("q")), True
    return cast("ColumnElement[Any]", listing.sorts[name]), part.startswith("-")


def _after(terms: Sequence[Term], names: Sequence[str]) -> ColumnElement[bool]:
    """Rows that sort behind the row whose keys are bound to `names`."""
    binds = [
        bindparam(name, type_=expression.type)
        for name, (expression, _) in zip(names, terms, strict=True)
    ]
    expressions = [expression for expression, _ in terms]
    if len({down for _, down in terms}) == 1:
        # One row comparison, which an index on the same columns answers directly.
        row, bound = tuple_(*expressions), tuple_(*binds)
        return row < bound if terms[0][1] else row > bound
    return or_(
        *(
            and_(
                *(e == b for e, b in zip(expressions[:i], binds[:i], strict=True)),
                expressions[i] < binds[i] if terms[i][1] else expressions[i] > binds[i],
            )
            for i in range(len(terms))
        )
    )
