"""Lists: filters, sorting, search and keyset pagination for every module.

A module declares a `ListSpec`, and `fetch_page` runs a `ListQuery` on it. The SQL of a page
depends only on which parameters are present, so it is compiled once per combination.
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
# Limits of a search text; the rest is ignored. A word is a run of letters and digits, including
# non-ASCII characters; `or` between words does not count.
MAX_WORDS = 32
MAX_CHARACTERS = 2000
_GAP = r"[\0-/:-@\[-`{-\x7f\s]"
_WORD = r"[^\0-/:-@\[-`{-\x7f\s]"
_FIRST_WORDS = re.compile(
    rf"(?:{_GAP}*+(?:or{_GAP}++)*+{_WORD}++){{{MAX_WORDS}}}{_GAP}*+", re.IGNORECASE
)
# Skipping this many rows of an index takes about as long as reading a page.
SHALLOW = 1000


@dataclass(frozen=True)
class Filter:
    """A query parameter: the type of its value, and the condition for that value.

    A `span` filter selects a range of the default sort field, so it uses the same index as the
    unfiltered list.
    """

    type: Any
    condition: Condition
    description: str = ""
    span: bool = False


@dataclass(frozen=True)
class Search:
    """The condition of the parameter `q`, and optionally the rank of a match.

    `prepare` converts the search text to the parameter of condition and rank. `rank` is a float,
    not negative; the highest rank comes first. It requires a default sort that is descending and
    never NULL.
    """

    condition: Condition
    rank: Callable[[BindParameter[Any]], ColumnElement[float]] | None = None
    prepare: Callable[[str], Any] = str
    description: str = "Search."


def first_words(text: str) -> str:
    """Truncate a search text to its first `MAX_CHARACTERS` characters and `MAX_WORDS` words."""
    text = text[:MAX_CHARACTERS]
    found = _FIRST_WORDS.match(text)
    return text if found is None else found[0].rstrip()


def containing(part: str) -> str:
    """Return a LIKE pattern for texts that contain `part` literally."""
    escaped = part.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"


@dataclass(frozen=True, eq=False)
class ListSpec:
    """The declaration of a list: its rows, and the parameters that clients may use.

    statement  selects the columns of a row
    key        a unique column, never NULL, that breaks ties between equal sort values
    sorts      columns by field name; NULL is larger than every value, as in a plain index: last
               in ascending order, first in descending order
    scopes     conditions that only the service sets, such as the visibility of rows
    large      columns with long texts, and their maximum length in characters; pages that would
               have too many bytes end early
    indexed    filters for which an index provides the default order; see `is_expensive`
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
        build = self.filters[name].condition if name in self.filters else self.scopes[name]
        return build(bindparam(name))

    def is_expensive(self, query: "ListQuery") -> bool:
        """Return whether this read may take long.

        A read is cheap if an index provides its rows in order: default sort in either direction,
        a small offset, no search, no total, and at most one filter besides spans, which is
        indexed.
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
    """The parameters of one page.

    sort            field names; a leading `-` means descending
    fields          fields of the response, None for all; other large columns are not loaded, and
                    are None in the rows
    caller          whose expensive reads this one counts among
    reserve_memory  awaited before a page is read that may be large
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
    reserve_memory: Callable[[], Awaitable[object]] | None = None


@dataclass(frozen=True)
class RowPage:
    """The rows of a page: fewer than the limit on the last page, or if more had too many bytes.

    `next_cursor` is None on the last page; `total` is None unless requested.
    """

    rows: list[Row]
    next_cursor: str | None
    total: int | None


async def fetch_page(
    reader: QueryRunner, spec: ListSpec, query: ListQuery, **scopes: Any
) -> RowPage:
    """Return the requested page.

    Raise `InvalidCursorError` for a cursor of another list, sort, filter or scope, and
    `TooManyReadsError` if the read is expensive and the caller has too many of these at once.
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
        keys, edge_values = keys[: len(keys) - len(edges)], keys[len(keys) - len(edges) :]
        nulls = tuple(key is None for key in keys)
        values |= {bind_name(i): key for i, key in enumerate(keys) if key is not None}
        values |= zip(edges, edge_values, strict=True)
    elif edges:
        edge_rows = await run(_edges(spec, names), **values)
        if not edge_rows:
            return RowPage([], None, total)
        values |= edge_rows[0]
    large = tuple(n for n in spec.large if query.fields is None or n in query.fields)
    bounded = page_bytes.may_exceed({name: spec.large[name] for name in large}, query.limit)
    page = _compiled_page(spec, names, sort, nulls, large, bounded=bounded)
    if bounded and query.reserve_memory:
        await query.reserve_memory()
    rows = await run(page.query, page_limit=query.limit + 1, page_offset=query.offset, **values)
    more = bounded and page_bytes.cut(rows, large)
    if len(rows) > query.limit:
        more = True
        rows.pop()
    next_cursor = None
    if more:
        last = [*(rows[-1][column] for column in page.columns), *(values[name] for name in edges)]
        next_cursor = encode_cursor(last, scope=scope, key=query.cursor_key)
    for column in page.extra_columns:
        for row in rows:
            del row[column]
    return RowPage(rows, next_cursor, total)


@dataclass(frozen=True)
class _CompiledPage:
    """A compiled page statement, and the columns of its sort keys.

    `extra_columns` are sort keys that the list does not select; they are removed from the rows.
    """

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
    large: tuple[str, ...],
    *,
    bounded: bool,
) -> _CompiledPage:
    """Compile the statement of a page.

    nulls    which keys of the cursor are NULL; None on the first page
    large    the large columns to load
    bounded  whether the page has a maximum number of bytes
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
    if omitted := spec.large.keys() - set(large):
        statement = page_bytes.without(statement, omitted)
    statement = (
        statement.order_by(*(e.desc() if down else e.asc() for e, down in terms))
        .limit(bindparam("page_limit"))
        .offset(bindparam("page_offset"))
    )
    if bounded:
        order = [(name, down) for name, (_, down) in zip(columns, terms, strict=True)]
        statement = page_bytes.bounded(statement, order, large)
    return _CompiledPage(Query(statement), tuple(columns), tuple(extra))


def _terms(spec: ListSpec, sort: tuple[str, ...]) -> list[Term]:
    terms = [_term(spec, part) for part in sort]
    # The tie-break has the direction of the last field, so one index provides both.
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
