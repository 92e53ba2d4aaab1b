"""Pages of lists with filters, sort, search and keyset cursors.

A module declares a `ListSpec`. `fetch_page` runs one statement for a `ListQuery`; its text depends
only on which parameters are present, and on the selected members.
"""

from dataclasses import dataclass
from typing import Any

from backend.db.lists import page_bytes, ranking
from backend.db.lists.cursors import cursor_scope, decode_cursor, encode_cursor
from backend.db.lists.keyset import bind_name
from backend.db.lists.specs import ListQuery, ListSpec, first_words
from backend.db.lists.statements import (
    RANK,
    count_statement,
    edges_statement,
    is_ranked,
    key_types,
    newest,
    page_statement,
)
from backend.db.queries import SharedQuery
from backend.db.query_runner import QueryRunner, Row, RunQuery


@dataclass(frozen=True)
class RowPage:
    """The rows of a page: fewer than `limit` at the end, or if more had too many bytes.

    Other requests may have the same rows, so services copy a row before they change it.
    """

    rows: list[Row]
    next_cursor: str | None
    total: int | None


async def fetch_page(
    reader: QueryRunner, spec: ListSpec, query: ListQuery, **scopes: Any
) -> RowPage:
    """Return the requested page. Concurrent callers may get the same rows: do not change them.

    Raise `InvalidCursorError` for a cursor of another list, sort, filter or scope, and
    `TooManyReadsError` if the caller has too many expensive reads at once.
    """
    values = {**query.filters, **scopes}
    if query.q is not None and spec.search:
        values["q"] = spec.search.prepare(first_words(query.q))
    if not spec.is_expensive(query):
        return await _page(reader.all, spec, query, values, reader)
    async with reader.expensive(query.caller) as run:
        return await _page(run, spec, query, values)


async def _page(
    run: RunQuery,
    spec: ListSpec,
    query: ListQuery,
    values: dict[str, Any],
    sharing: QueryRunner | None = None,
) -> RowPage:
    """Return the page. `sharing` reads pages that concurrent callers may read together."""
    names = tuple(sorted(values))
    sort = _effective_sort(spec, query)
    scope = cursor_scope(spec.name, sort, values)
    total = None
    if query.total:
        total = (await run(count_statement(spec, names), **values))[0]["count"]
    edges = ranking.edge_names(newest(spec)) if is_ranked(sort) else []
    nulls = None
    if query.cursor is not None:
        types = key_types(spec, sort)
        keys = decode_cursor(query.cursor, types, scope=scope, key=query.cursor_key)
        keys, kept = keys[: len(keys) - len(edges)], keys[len(keys) - len(edges) :]
        nulls = tuple(key is None for key in keys)
        values |= {bind_name(i): key for i, key in enumerate(keys) if key is not None}
        values |= zip(edges, kept, strict=True)
    elif edges:
        edge_rows = await run(edges_statement(spec, names), **values)
        if not edge_rows:
            return RowPage([], None, total)
        values |= edge_rows[0]
    columns = None if query.fields is None else spec.columns_of(query.fields)
    loaded = [size for name, size in spec.large.items() if columns is None or name in columns]
    bounded = page_bytes.may_exceed(loaded, query.limit)
    statement = page_statement(spec, names, sort, nulls, columns, bounded=bounded)
    if bounded and query.acquire_place:
        await query.acquire_place()
    values |= {"page_limit": query.limit + 1, "page_offset": query.offset}
    most = page_bytes.pages_within(loaded, query.limit + 1)
    if sharing and most > 1 and isinstance(statement.query, SharedQuery):
        rows = await sharing.shared(statement.query, values, most)
    else:
        rows = await run(statement.query, **values)
    more = bounded and page_bytes.cut(rows, statement.large)
    if len(rows) > query.limit:
        more = True
        # Other callers may have the same rows.
        rows = rows[:-1]
    next_cursor = None
    if more:
        last = [rows[-1][column] for column in statement.sort_keys]
        last += [values[name] for name in edges]
        next_cursor = encode_cursor(last, scope=scope, key=query.cursor_key)
    if statement.extra_columns or statement.absent:
        absent = dict.fromkeys(statement.absent)
        extra = statement.extra_columns
        rows = [{k: v for k, v in row.items() if k not in extra} | absent for row in rows]
    return RowPage(rows, next_cursor, total)


def _effective_sort(spec: ListSpec, query: ListQuery) -> tuple[str, ...]:
    if query.sort:
        return query.sort
    ranked = query.q is not None and spec.search and spec.search.rank
    return (f"-{RANK}", spec.default_sort) if ranked else (spec.default_sort,)
