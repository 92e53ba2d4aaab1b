"""Pages of lists with filters, sort, search and keyset cursors.

A module declares a `ListSpec`. `fetch_page` runs one statement for a `ListQuery`; its text depends
only on which parameters are present, so it is compiled once.
"""

import json
import re
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    SQLColumnExpression,
    TypeDecorator,
    bindparam,
    func,
)

from backend.db.lists import page_bytes, ranking
from backend.db.lists.cursors import decode_cursor, encode_cursor
from backend.db.lists.keyset import Term, behind, bind_name, is_nullable
from backend.db.query_runner import Query, QueryRunner, Row, RunQuery

Condition = Callable[[BindParameter[Any]], ColumnElement[bool]]
Column = SQLColumnExpression[Any]
RANK = "rank"
# A search uses at most so many words and characters. A word is a run of letters and digits of any
# script; an `or` between words does not count.
MAX_WORDS = 32
MAX_CHARACTERS = 2000
_GAP = r"[\0-/:-@\[-`{-\x7f\s]"
_WORD = r"[^\0-/:-@\[-`{-\x7f\s]"
_FIRST_WORDS = re.compile(
    rf"(?:{_GAP}*+(?:or{_GAP}++)*+{_WORD}++){{{MAX_WORDS}}}{_GAP}*+", re.IGNORECASE
)
# The largest offset of a cheap read: skipping so many rows of an index takes as long as a page.
SHALLOW = 1000


@dataclass(frozen=True)
class Filter:
    """A query parameter: its type for the client, and its SQL condition.

    `span` marks a range filter on the column of the default order. The same index answers it, so
    it does not make a read expensive.
    """

    type: Any
    condition: Condition
    description: str = ""
    span: bool = False


@dataclass(frozen=True)
class Search:
    """The condition of the parameter `q`, and optionally a rank.

    With `rank`, a float of at least 0, the best results come first. Then the list's default order
    must be descending and never NULL. `prepare` converts the text of `q` to the value that the
    condition and the rank use.
    """

    condition: Condition
    rank: Callable[[BindParameter[Any]], ColumnElement[float]] | None = None
    prepare: Callable[[str], Any] = str
    description: str = "Search."


def first_words(text: str) -> str:
    """Return the part of a search that is used: `MAX_WORDS` words of its `MAX_CHARACTERS`."""
    text = text[:MAX_CHARACTERS]
    match = _FIRST_WORDS.match(text)
    return text if match is None else match[0].rstrip()


def containing(part: str) -> str:
    """Return a LIKE pattern for texts that contain `part`, with `%` and `_` escaped."""
    escaped = part.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"


@dataclass(frozen=True, eq=False)
class ListSpec:
    """A list that clients can filter, sort, search and page through.

    `statement` selects the columns of a row. `key` is unique, never NULL, and breaks ties. NULL
    sorts as if larger than every value: last in ascending order and first in descending order, as
    in a plain index. `scopes` are conditions that only the service sets, such as who may see a row.
    `large` maps columns with long texts to their maximal number of characters; a page ends early
    if its rows have too many bytes.

    `indexed` are the filters that an index answers in the default order, one at a time; most other
    reads are expensive.
    """

    name: str
    statement: Select[*tuple[Any, ...]]
    key: Column
    sorts: Mapping[str, Column]
    default_sort: str = "-created_at"
    filters: Mapping[str, Filter] = field(default_factory=dict)
    scopes: Mapping[str, Condition] = field(default_factory=dict)
    search: Search | None = None
    large: Mapping[str, int] = field(default_factory=dict)
    indexed: Collection[str] = ()

    def condition(self, name: str) -> ColumnElement[bool]:
        if name == "q" and self.search:
            return self.search.condition(bindparam("q"))
        made = self.filters[name].condition if name in self.filters else self.scopes[name]
        return made(bindparam(name))

    def is_expensive(self, query: "ListQuery") -> bool:
        """Return whether the read may take long.

        A page is cheap if an index returns its rows in order: with the default sort in either
        direction, a small offset or a cursor, and at most one indexed filter beside spans.
        """
        if query.q is not None or query.total or query.offset > SHALLOW:
            return True
        if query.sort:
            default = self.default_sort.removeprefix("-")
            if query.sort not in ((default,), (f"-{default}",)):
                return True
        if not query.filters:
            return False
        filters = [name for name in query.filters if not self.filters[name].span]
        return len(filters) > 1 or any(name not in self.indexed for name in filters)


@dataclass(frozen=True)
class ListQuery:
    """A request for a page. `sort` names fields; a leading `-` means descending.

    `fields` are the fields of the response, or None for all. Other large columns are not loaded
    and are None in the rows. `caller` is the key by which expensive reads are limited.
    `acquire_place` is awaited before a page that may be large is read, to limit memory.
    """

    cursor_key: bytes
    limit: int = 20
    cursor: str | None = None
    offset: int = 0
    sort: tuple[str, ...] = ()
    total: bool = False
    q: str | None = None
    filters: Mapping[str, Any] = field(default_factory=dict)
    fields: Collection[str] | None = None
    caller: Hashable = None
    acquire_place: Callable[[], Awaitable[object]] | None = None


@dataclass(frozen=True)
class RowPage:
    """The rows of a page: fewer than `limit` at the end, or if more had too many bytes."""

    rows: list[Row]
    next_cursor: str | None
    total: int | None


async def fetch_page(
    reader: QueryRunner, spec: ListSpec, query: ListQuery, **scopes: Any
) -> RowPage:
    """Return the requested page.

    Raise `InvalidCursorError` for a cursor of another list, sort, filter or scope, and
    `TooManyReadsError` if the caller has too many expensive reads at once.
    """
    values = {**query.filters, **scopes}
    if query.q is not None and spec.search:
        values["q"] = spec.search.prepare(first_words(query.q))
    if not spec.is_expensive(query):
        return await _page(reader.all, spec, query, values)
    async with reader.expensive(query.caller) as run:
        return await _page(run, spec, query, values)


async def _page(run: RunQuery, spec: ListSpec, query: ListQuery, values: dict[str, Any]) -> RowPage:
    names = tuple(sorted(values))
    sort = _effective_sort(spec, query)
    scope = _cursor_scope(spec.name, sort, values)
    total = None
    if query.total:
        total = (await run(_count(spec, names), **values))[0]["count"]
    edges = ranking.edge_names(_newest(spec)) if _is_ranked(sort) else []
    nulls = None
    if query.cursor is not None:
        types = _types(spec, sort)
        keys = decode_cursor(query.cursor, types, scope=scope, key=query.cursor_key)
        keys, kept = keys[: len(keys) - len(edges)], keys[len(keys) - len(edges) :]
        nulls = tuple(key is None for key in keys)
        values |= {bind_name(i): key for i, key in enumerate(keys) if key is not None}
        values |= zip(edges, kept, strict=True)
    elif edges:
        edge_rows = await run(_edges(spec, names), **values)
        if not edge_rows:
            return RowPage([], None, total)
        values |= edge_rows[0]
    shown = tuple(n for n in spec.large if query.fields is None or n in query.fields)
    bounded = page_bytes.may_exceed({name: spec.large[name] for name in shown}, query.limit)
    shape = _compiled_page(spec, names, sort, nulls, shown, bounded=bounded)
    if bounded and query.acquire_place:
        await query.acquire_place()
    rows = await run(shape.query, page_limit=query.limit + 1, page_offset=query.offset, **values)
    more = bounded and page_bytes.cut(rows, shown)
    if len(rows) > query.limit:
        more = True
        rows.pop()
    next_cursor = None
    if more:
        last = [*(rows[-1][column] for column in shape.columns), *(values[name] for name in edges)]
        next_cursor = encode_cursor(last, scope=scope, key=query.cursor_key)
    for column in shape.extra_columns:
        for row in rows:
            del row[column]
    return RowPage(rows, next_cursor, total)


@dataclass(frozen=True)
class _CompiledPage:
    """The statement of a page, and the names of its sort keys in a row."""

    query: Query
    columns: tuple[str, ...]
    extra_columns: tuple[str, ...]


def _effective_sort(spec: ListSpec, query: ListQuery) -> tuple[str, ...]:
    if query.sort:
        return query.sort
    ranked = query.q is not None and spec.search and spec.search.rank
    return (f"-{RANK}", spec.default_sort) if ranked else (spec.default_sort,)


def _is_ranked(sort: Sequence[str]) -> bool:
    return sort[0] == f"-{RANK}"


def _newest(spec: ListSpec) -> tuple[ColumnElement[Any], ...]:
    return tuple(expression for expression, _ in _terms(spec, (spec.default_sort,)))


def _cursor_scope(name: str, sort: Sequence[str], values: Mapping[str, Any]) -> bytes:
    return json.dumps([name, sort, values], default=str, sort_keys=True).encode()


def _filtered(spec: ListSpec, names: tuple[str, ...]) -> Select[*tuple[Any, ...]]:
    return spec.statement.where(*(spec.condition(name) for name in names))


@lru_cache(maxsize=256)
def _count(spec: ListSpec, names: tuple[str, ...]) -> Query:
    statement = _filtered(spec, names).with_only_columns(
        func.count().label("count"), maintain_column_froms=True
    )
    return Query(statement)


@lru_cache(maxsize=256)
def _edges(spec: ListSpec, names: tuple[str, ...]) -> Query:
    return Query(ranking.edges(_filtered(spec, names), _newest(spec)))


@lru_cache(maxsize=1024)
def _compiled_page(
    spec: ListSpec,
    names: tuple[str, ...],
    sort: tuple[str, ...],
    nulls: tuple[bool, ...] | None,
    shown: tuple[str, ...],
    *,
    bounded: bool,
) -> _CompiledPage:
    """Return the statement of a page.

    `nulls` marks the keys of the cursor that are NULL; it is None for the first page. `shown` are
    the large columns to load. `bounded` limits the bytes of the page.
    """
    statement = _filtered(spec, names)
    if _is_ranked(sort):
        statement = statement.where(ranking.no_newer(_newest(spec)))
    terms = _terms(spec, sort)
    columns: list[str] = []
    extra: list[str] = []
    for position, (expression, _) in enumerate(terms):
        selected = statement.selected_columns.corresponding_column(expression)
        name = f"sort_key_{position}" if selected is None else str(selected.key)
        if selected is None:
            extra.append(name)
            statement = statement.add_columns(expression.label(name))
        columns.append(name)
    if nulls is not None:
        nullable = [e is not spec.key and is_nullable(e, statement) for e, _ in terms]
        statement = statement.where(behind(terms, nulls, nullable))
    if omitted := spec.large.keys() - set(shown):
        statement = page_bytes.without(statement, omitted)
    statement = (
        statement.order_by(*(e.desc() if down else e.asc() for e, down in terms))
        .limit(bindparam("page_limit"))
        .offset(bindparam("page_offset"))
    )
    if bounded:
        order = [(name, down) for name, (_, down) in zip(columns, terms, strict=True)]
        statement = page_bytes.bounded(statement, order, shown)
    return _CompiledPage(Query(statement), tuple(columns), tuple(extra))


def _terms(spec: ListSpec, sort: tuple[str, ...]) -> list[Term]:
    terms = [_term(spec, part) for part in sort]
    # The key has the direction of the last field, so that one index can serve both.
    return [*terms, (cast("ColumnElement[Any]", spec.key), terms[-1][1])]


@lru_cache(maxsize=1024)
def _types(spec: ListSpec, sort: tuple[str, ...]) -> tuple[type, ...]:
    keys = [expression for expression, _ in _terms(spec, sort)]
    if _is_ranked(sort):
        keys += 2 * _newest(spec)
    return tuple(map(_python_type, keys))


def _python_type(expression: ColumnElement[Any]) -> type:
    kind = expression.type
    return (kind.impl_instance if isinstance(kind, TypeDecorator) else kind).python_type


def _term(spec: ListSpec, part: str) -> Term:
    name = part.removeprefix("-")
    if name == RANK and spec.search and spec.search.rank:
        return ranking.bounded_rank(spec.search.rank(bindparam("q")), _newest(spec)), True
    return cast("ColumnElement[Any]", spec.sorts[name]), part.startswith("-")
