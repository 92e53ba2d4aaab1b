"""Keyset pages, sorts and filters, on a table of no module."""

import json
import string
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import func, select

from backend.db.errors import InvalidCursorError
from backend.db.lists import statements
from backend.db.lists.cursors import decode_cursor, encode_cursor
from backend.db.lists.pages import RowPage, fetch_page
from backend.db.lists.specs import ListQuery, ListSpec
from backend.db.lists.statements import page_statement
from backend.modules.audit.queries import EVENTS
from backend.modules.auth.queries import SESSIONS
from backend.modules.roles.queries import PERMISSIONS, ROLES
from backend.modules.users.queries import USERS
from tests.db.shelf import (
    BOUNDED,
    EPOCH,
    KEY,
    LISTING,
    RANKED,
    ROWS,
    SORTS,
    THINGS,
    C,
    Shelf,
    ids,
    in_order,
    thing,
)
from tests.samples import optional

ARTICLES = optional("articles.queries", "ARTICLES")
ITEMS = optional("items.queries", "ITEMS")
JOBS = optional("jobs.queries", "JOBS")


@BOUNDED
@given(rows=ROWS, sort=SORTS, limit=st.integers(1, 7), skip=st.integers(0, 30))
async def test_walk_by_cursor_is_the_sorted_list(
    shelf: Shelf, rows: list[dict[str, Any]], sort: tuple[str, ...], limit: int, skip: int
) -> None:
    shelf.fill(rows)
    expected = in_order(rows, sort)
    assert ids(await shelf.walk(sort=sort, limit=limit)) == expected
    numbered = await shelf.page(sort=sort, limit=limit, offset=skip, total=True)
    assert ids(numbered.rows) == expected[skip : skip + limit]
    assert numbered.total == len(rows)
    assert (numbered.next_cursor is None) == (skip + limit >= len(rows))


@pytest.mark.parametrize("sort", [(), ("made_at",), ("-made_at",), ("parity", "-lower_name")])
async def test_row_holds_the_columns_of_the_statement(shelf: Shelf, sort: tuple[str, ...]) -> None:
    """Columns that only the sort needs are not returned."""
    shelf.fill([thing(number) for number in range(5)])
    page = await shelf.page(sort=sort, limit=2)
    assert [set(row) for row in page.rows] == [{"id", "name", "size", "made_at", "remark"}] * 2


@pytest.mark.parametrize("sort", ["raw_remark", "-raw_remark"])
async def test_rows_without_a_value_are_paged_as_well(shelf: Shelf, sort: str) -> None:
    rows = [thing(number, remark=f"r{number}" if number % 2 else None) for number in range(6)]
    shelf.fill(rows)
    assert ids(await shelf.walk(sort=(sort,), limit=2)) == in_order(rows, [sort])


@pytest.mark.parametrize("sort", ["name", "-name"])
@pytest.mark.parametrize("full", [False, True])
async def test_rows_that_an_outer_join_did_not_find_are_paged_as_well(
    shelf: Shelf, sort: str, full: bool
) -> None:
    rows = [thing(number) for number in range(7)]
    shelf.fill(rows)
    nearest = THINGS.alias("nearest")
    joined = THINGS.outerjoin(nearest, nearest.c.size == C.size + 3, full=full)
    listing = ListSpec(
        name="joined",
        statement=select(C.id, nearest.c.name.label("nearest")).select_from(joined),
        key=func.coalesce(C.id, nearest.c.id),
        # NOT NULL in its table, but nullable after an outer join.
        sorts={"name": nearest.c.name},
    )
    expected = [row["nearest"] for row in (await shelf.page(listing, sort=(sort,))).rows]
    assert expected.count(None) == 3
    found = await shelf.walk(listing, sort=(sort,), limit=2)
    assert [row["nearest"] for row in found] == expected


async def test_default_sort_and_empty_list(shelf: Shelf) -> None:
    rows = [thing(number) for number in range(5)]
    shelf.fill(rows)
    assert ids((await shelf.page()).rows) == in_order(rows, ["-made_at"])
    shelf.fill([])
    assert await shelf.page(total=True) == RowPage([], None, 0)


async def test_rows_that_come_and_go_disturb_no_walk(shelf: Shelf) -> None:
    rows = [thing(number) for number in range(0, 40, 2)]
    shelf.fill(rows)
    first = await shelf.page(sort=("size",), limit=5)
    shelf.connection.execute("DELETE FROM made_things WHERE size IN (0, 8, 12)")  # 8 ends that page
    early, late = thing(1), thing(21)
    for row in (early, late):
        shelf.connection.execute(
            "INSERT INTO made_things VALUES (%(id)s, %(name)s, %(size)s, "
            "%(weight)s, %(made_at)s, NULL)",
            row,
        )
    rest = []
    cursor = first.next_cursor
    while cursor:
        page = await shelf.page(sort=("size",), limit=5, cursor=cursor)
        rest += [row["size"] for row in page.rows]
        cursor = page.next_cursor
    assert rest == [10, 14, 16, 18, 20, 21, *range(22, 40, 2)]


async def test_another_limit_goes_on_where_the_page_ended(shelf: Shelf) -> None:
    shelf.fill([thing(number) for number in range(20)])
    first = await shelf.page(sort=("size",), limit=3)
    second = await shelf.page(sort=("size",), limit=9, cursor=first.next_cursor, total=True)
    assert [row["size"] for row in second.rows] == list(range(3, 12))
    assert second.total == 20


async def test_filters_scopes_and_search_narrow_rows_and_total(shelf: Shelf) -> None:
    shelf.fill([thing(number, name="even" if number % 2 == 0 else "odd") for number in range(20)])
    shelf.connection.execute("UPDATE made_things SET remark = '100%_' WHERE size > 15")
    for query, expected in (
        ({"filters": {"size": 3}}, [3]),
        ({"filters": {"larger_than": 16}}, [17, 18, 19]),
        ({"filters": {"larger_than": 16}, "scopes": {"only_name": "even"}}, [18]),
        ({"q": "od", "filters": {"larger_than": 14}}, [15, 17, 19]),
        ({"q": "%_"}, [16, 17, 18, 19]),
        ({"q": "0_"}, []),
    ):
        page = await shelf.page(sort=("size",), total=True, limit=2, **query)
        assert page.total == len(expected)
        found = await shelf.walk(sort=("size",), limit=2, **query)
        assert [row["size"] for row in found] == expected


async def test_best_matches_come_first(shelf: Shelf) -> None:
    rows = [thing(number) for number in range(30)]
    shelf.fill(rows)
    found = await shelf.walk(RANKED, q="thing", limit=4)
    expected = sorted(rows, key=lambda row: ((row["size"] + 5) % 3, row["made_at"]), reverse=True)
    assert ids(found) == ids(expected)
    sorted_by_size = await shelf.walk(RANKED, q="thing", limit=4, sort=("size",))
    assert [row["size"] for row in sorted_by_size] == list(range(30))


# Cursors


@pytest.fixture
async def cursor(shelf: Shelf) -> str:
    shelf.fill([thing(number) for number in range(10)])
    page = await shelf.page(sort=("size",), limit=3, filters={"larger_than": 1})
    assert page.next_cursor is not None
    return page.next_cursor


@pytest.mark.parametrize(
    "change",
    [
        {"sort": ("-size",)},
        {"sort": ("size", "name")},
        {"sort": ()},
        {"filters": {}},
        {"filters": {"larger_than": 2}},
        {"filters": {"size": 1}},
        {"q": "thing"},
        {"scopes": {"only_name": "thing 5"}},
        {"listing": RANKED},
    ],
)
async def test_cursor_of_another_list_is_refused(
    shelf: Shelf, cursor: str, change: dict[str, Any]
) -> None:
    query: dict[str, Any] = {"sort": ("size",), "limit": 3, "filters": {"larger_than": 1}}
    assert (await shelf.page(cursor=cursor, **query)).rows
    with pytest.raises(InvalidCursorError):
        await shelf.page(cursor=cursor, **{**query, **change})


async def test_cursor_of_another_key_is_refused(shelf: Shelf, cursor: str) -> None:
    query = ListQuery(
        cursor_key=KEY[::-1], cursor=cursor, sort=("size",), filters={"larger_than": 1}
    )
    with pytest.raises(InvalidCursorError):
        await fetch_page(shelf.reader, LISTING, query)


ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
TYPES = (datetime, str, int, float, UUID)
VALUES = st.tuples(
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])),
    st.text(),
    st.integers(),
    st.floats(allow_nan=False),
    st.uuids(),
)


@BOUNDED
@given(values=VALUES, scope=st.binary(), key=st.binary(min_size=1, max_size=64))
def test_cursor_brings_back_its_values(values: Any, scope: bytes, key: bytes) -> None:
    cursor = encode_cursor(values, scope=scope, key=key)
    assert set(cursor) <= set(ALPHABET)
    assert decode_cursor(cursor, TYPES, scope=scope, key=key) == list(values)


def test_cursor_brings_back_a_value_that_is_missing() -> None:
    cursor = encode_cursor([None, "None"], scope=b"", key=KEY)
    assert decode_cursor(cursor, (datetime, str), scope=b"", key=KEY) == [None, "None"]


@BOUNDED
@given(text=st.text() | st.binary().map(lambda data: data.decode("latin-1")))
@pytest.mark.parametrize("types", [(), TYPES])
def test_garbage_is_no_cursor(types: Sequence[type], text: str) -> None:
    with pytest.raises(InvalidCursorError):
        decode_cursor(text, types, scope=b"", key=KEY)


@BOUNDED
@given(data=st.data())
def test_changed_cursor_is_no_cursor(data: st.DataObject) -> None:
    values = [EPOCH, "Ada", 7, 0.5, uuid4()]
    cursor = encode_cursor(values, scope=b"list", key=KEY)
    position = data.draw(st.integers(0, len(cursor) - 1))
    kind = data.draw(st.sampled_from(["replaced", "removed", "inserted", "truncated"]))
    character = data.draw(st.characters())
    forged = {
        "replaced": cursor[:position] + character + cursor[position + 1 :],
        "removed": cursor[:position] + cursor[position + 1 :],
        "inserted": cursor[:position] + character + cursor[position:],
        "truncated": cursor[:position],
    }[kind]
    assume(forged != cursor)
    with pytest.raises(InvalidCursorError):
        decode_cursor(forged, TYPES, scope=b"list", key=KEY)


@pytest.mark.parametrize("text", ["", "a", "ab"])
def test_cursor_has_one_spelling(text: str) -> None:
    cursor = encode_cursor([text], scope=b"", key=KEY)
    others = [cursor[:-1] + last for last in ALPHABET if last != cursor[-1]]
    for other in (*others, *(cursor + "=" * count for count in (1, 2, 3))):
        with pytest.raises(InvalidCursorError):
            decode_cursor(other, (str,), scope=b"", key=KEY)


def test_cursor_tells_nothing_apart_from_its_values() -> None:
    cursor = encode_cursor(["Ada"], scope=b"secret scope", key=KEY)
    assert b"secret" not in cursor.encode()
    assert json.dumps(["Ada"]) not in cursor


# Performance


async def test_statements_are_compiled_once(shelf: Shelf) -> None:
    shelf.fill([thing(number) for number in range(50)])

    async def ask(number: int) -> None:
        filters = {"larger_than": number}
        page = await shelf.page(sort=("weight", "-name"), limit=1 + number, filters=filters)
        await shelf.page(
            sort=("weight", "-name"),
            cursor=page.next_cursor,
            limit=1 + number,
            filters=filters,
            total=True,
        )

    await ask(0)
    shapes, counts = statements._whole.cache_info(), statements.count_statement.cache_info()
    for number in range(1, 9):
        await ask(number)
    assert statements._whole.cache_info().misses == shapes.misses
    assert statements.count_statement.cache_info().misses == counts.misses
    assert statements._whole.cache_info().hits == shapes.hits + 16


OURS = [
    (listing, sort)
    for listing in (ARTICLES, EVENTS, ITEMS, JOBS, PERMISSIONS, ROLES, SESSIONS, USERS)
    if listing is not None
    for sort in listing.sorts
]


@pytest.mark.parametrize(("listing", "sort"), OURS, ids=lambda part: getattr(part, "name", part))
@pytest.mark.parametrize("down", ["", "-"])
def test_sorts_of_ours_are_compared_as_rows(listing: ListSpec, sort: str, down: str) -> None:
    """Sorts that cannot be NULL are compared as rows, which an index can serve."""
    order = (down + sort,)
    shape = page_statement(listing, (), order, (False, False), None, bounded=False)
    first = page_statement(listing, (), order, None, None, bounded=False)
    assert shape.query.sql.count(" IS NULL") == first.query.sql.count(" IS NULL")
    assert ") < (" in shape.query.sql or ") > (" in shape.query.sql


@pytest.mark.parametrize("generic", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("sort", ["made_at", "-made_at"])
async def test_page_at_depth_is_read_from_an_index(shelf: Shelf, sort: str, generic: str) -> None:
    """Custom and generic plans of the prepared statement both use the index."""
    shelf.fill([])
    shelf.connection.execute(
        "INSERT INTO made_things SELECT gen_random_uuid(), 'thing', i, i, "
        "now() + i * interval '1 s', NULL FROM generate_series(1, 20000) i"
    )
    shelf.connection.execute("ANALYZE made_things")
    middle = shelf.connection.execute("SELECT made_at, id FROM made_things WHERE size = 10000")
    made_at, key = middle.fetchone() or (None, None)
    shape = page_statement(LISTING, (), (sort,), (False, False), None, bounded=False)
    values = {"after_0": made_at, "after_1": key, "page_limit": 21, "page_offset": 0}
    with shelf.connection.transaction():
        shelf.connection.execute(f"SET LOCAL plan_cache_mode = {generic}".encode())
        found = shelf.connection.execute(
            f"EXPLAIN (ANALYZE, COSTS off) {shape.query.sql}".encode(),
            shape.query.parameters(values),
            prepare=True,
        )
        plan = "\n".join(line for (line,) in found)
    assert "Index Scan" in plan, plan
    assert "ix_made_things_made_at_id" in plan
    for word in ("Sort", "Seq Scan", "Filter"):
        assert word not in plan, plan
