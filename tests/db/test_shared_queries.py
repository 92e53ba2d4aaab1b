"""Concurrent callers share statements, and each gets the rows for its own values."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import String, Text, Uuid, bindparam, column, func, select, table

from backend.db.connections import Timeouts
from backend.db.database import Database
from backend.db.lists.page_bytes import PAGE_BYTES, SHARED_ROWS, pages_within
from backend.db.lists.statements import page_statement
from backend.db.queries import SharedQuery
from backend.modules.users.queries import ACCOUNT_BY_NAME
from tests.db.shelf import BOUNDED, LISTING, ORDER, ROWS, C, Shelf, ids, thing
from tests.samples import sample
from tests.statements import Statements

JOTS = table("made_jots", column("name", Text), column("size"))
NAMED = SharedQuery(
    select(JOTS.c.name, JOTS.c.size)
    .where(JOTS.c.name == bindparam("name"))
    .order_by(JOTS.c.size.desc())
    .limit(bindparam("most")),
    common=("most",),
    order=[("size", True)],
)
COUNT = SharedQuery(
    select(func.count().label("n")).select_from(JOTS).where(JOTS.c.name == bindparam("name"))
)


@pytest.fixture
async def jots(database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("CREATE TABLE made_jots (name text, size integer)")
        await connection.execute(
            "INSERT INTO made_jots SELECT name, size FROM unnest(ARRAY['a', 'b', 'c']) AS name,"
            " generate_series(1, 5) AS size"
        )
        yield connection


@pytest.fixture
async def database(database_url: str, jots: object) -> AsyncIterator[Database]:
    made = Database(database_url, size=4, timeouts=Timeouts())
    yield made
    await made.close()


def sizes(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(row["name"], row["size"]) for row in rows]


async def test_each_caller_gets_the_rows_for_its_values(
    database: Database, statements: Statements
) -> None:
    async def ask(name: str, most: int) -> None:
        rows = await database.primary.shared(NAMED, {"name": name, "most": most}, 10)
        expected = [(name, 5 - at) for at in range(most)] if name in "abc" else []
        assert sizes(rows) == expected
        assert all(row.keys() == {"name", "size"} for row in rows)

    for _ in range(3):
        await asyncio.gather(*(ask(name, most) for name in "abcxab" for most in (2, 3)))
    shared = [each for each in statements if "unnest" in each]
    assert shared
    # The values in `common` differ between statements only.
    assert len(statements) < 3 * 12 / 2


async def test_a_statement_has_a_limited_number_of_callers(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Mapping[str, Any]] = []
    execute = database.primary.execute

    async def recording(query: Any, values: Mapping[str, Any], *begin: Any) -> Any:
        sent.append(values)
        return await execute(query, values, *begin)

    monkeypatch.setattr(database.primary, "execute", recording)
    names = [f"name {number}" for number in range(20)]
    for _ in range(2):
        asked = [database.primary.shared(COUNT, {"name": name}, 4) for name in names]
        assert await asyncio.gather(*asked) == [[{"n": 0}]] * 20
    counts = [len(values["name"]) for values in sent if isinstance(values["name"], list)]
    assert max(counts) == 4


async def test_equal_values_share_rows_and_others_do_not(
    database: Database, jots: psycopg.AsyncConnection
) -> None:
    def shared(name: str) -> "asyncio.Task[list[dict[str, Any]]]":
        return asyncio.ensure_future(database.primary.shared(COUNT, {"name": name}, 10))

    found = await asyncio.gather(*(shared("a") for _ in range(20)), shared("x"))
    assert (found[1], found[20]) == ([{"n": 5}], [{"n": 0}])
    assert all(each is found[1] for each in found[2:20])
    # A read after a commit sees the commit, also while earlier reads are running.
    async with jots.transaction():
        await jots.execute("LOCK TABLE made_jots")
        held = [shared("a"), shared("x")]
        await asyncio.sleep(0.05)
        await jots.execute("INSERT INTO made_jots VALUES ('a', 6)")
    assert await shared("a") == [{"n": 6}]
    await asyncio.gather(*held)


def test_parameters_that_are_no_scalars_are_refused() -> None:
    with pytest.raises(TypeError, match="names"):
        SharedQuery(select(JOTS.c.name).where(JOTS.c.name == func.any(bindparam("names"))))


PHONES = table("made_callers", column("user_id", Uuid), column("caller_number", Text))
OWN_CALLS = SharedQuery(
    select(PHONES.c.caller_number).where(PHONES.c.user_id == bindparam("user_id"))
)


async def test_names_of_tables_and_columns_are_free(
    database: Database, jots: psycopg.AsyncConnection
) -> None:
    users = [UUID(int=number) for number in range(8)]
    await jots.execute("CREATE TABLE made_callers (user_id uuid, caller_number text)")
    await jots.execute(
        "INSERT INTO made_callers SELECT id, id::text FROM unnest(%s) AS id", [users]
    )
    asked = (database.primary.shared(OWN_CALLS, {"user_id": user}) for user in users)
    found = await asyncio.gather(*asked)
    assert found == [[{"caller_number": str(user)}] for user in users]


async def test_a_text_is_not_cut_to_the_length_of_the_column(database: Database) -> None:
    short = table("made_jots", column("name", String(1)))
    query = SharedQuery(select(short.c.name).where(short.c.name == bindparam("name")))
    asked = (database.primary.shared(query, {"name": name}) for name in ("ax", "bx", "cx", "a"))
    assert [len(rows) for rows in await asyncio.gather(*asked)] == [0, 0, 0, 5]


async def test_accounts_by_name_are_found_by_indexes(database_url: str) -> None:
    """Also for several names, as they are read while clients sign in."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute(
            "INSERT INTO users (id, email, username, password_hash, is_active, is_verified, "
            "sessions_valid_after, email_key, username_key, created_at, updated_at) "
            "SELECT gen_random_uuid(), "
            "'user' || n || '@example.com', 'user' || n, '', true, true, now(), "
            "'user' || n || '@example.com', 'user' || n, now(), now() "
            "FROM generate_series(1, 3000) AS n"
        )
        await connection.execute("ANALYZE users")
        names = [f"user{number}" for number in range(1, 9)]
        explain = f"EXPLAIN {ACCOUNT_BY_NAME.together.sql}"
        plan = await connection.execute(explain.encode(), {"key": names})
        lines = [line for (line,) in await plan.fetchall()]
    assert not [line for line in lines if "Seq Scan on users" in line], "\n".join(lines)


# Pages

SORT = st.sampled_from(sorted(ORDER)).flatmap(lambda name: st.sampled_from([name, f"-{name}"]))


@BOUNDED
@given(rows=ROWS, sort=SORT, limit=st.integers(1, 7), scope=st.sampled_from(sorted(LISTING.scopes)))
@example(rows=[thing(number) for number in range(9)], sort="-made_at", limit=2, scope="only_name")
async def test_pages_are_the_same_as_alone(
    shelf: Shelf, rows: list[dict[str, Any]], sort: str, limit: int, scope: str
) -> None:
    shelf.fill(rows)
    values: list[Any] = [0, 1, -2] if scope == "larger_or_remarked" else ["a", "", "thing 3"]
    scopes: list[dict[str, Any]] = [{}, {}, *({scope: value} for value in values * 2)]
    options: dict[str, Any] = {"sort": (sort,), "limit": limit}
    alone = [ids(await shelf.walk(scopes=each, **options)) for each in scopes]
    together = await asyncio.gather(*(shelf.walk(scopes=each, **options) for each in scopes))
    assert list(map(ids, together)) == alone


async def test_concurrent_pages_share_statements(shelf: Shelf, statements: Statements) -> None:
    shelf.fill([thing(number, name=f"n{number % 8}") for number in range(160)])

    async def caller(number: int) -> None:
        walked = await shelf.walk(scopes={"only_name": f"n{number % 8}"}, limit=5)
        assert [row["size"] for row in walked] == list(range(152 + number % 8, -1, -8))

    await asyncio.gather(*map(caller, range(32)))
    # 32 callers have read 4 pages each.
    assert len(statements) < 0.3 * 32 * 4


async def test_pages_with_selected_members_leave_the_rows_of_others_alone(shelf: Shelf) -> None:
    shelf.fill([thing(number) for number in range(4)])
    options: dict[str, Any] = {"limit": 2, "sort": ("weight",), "fields": {"name"}}
    pages = await asyncio.gather(*(shelf.page(**options) for _ in range(6)))
    absent = {"id": None, "size": None, "made_at": None, "remark": None}
    for page in pages:
        assert page.rows == [{**absent, "name": "thing 0"}, {**absent, "name": "thing 1"}]
        assert page.next_cursor is not None


@pytest.mark.parametrize(
    "query", [{"filters": {"size": 1}}, {"q": "thing"}, {"total": True}, {"sort": ("name", "size")}]
)
async def test_pages_whose_plan_depends_on_values_have_statements_of_their_own(
    shelf: Shelf, statements: Statements, query: dict[str, Any]
) -> None:
    shelf.fill([thing(number) for number in range(4)])
    statements.clear()
    await asyncio.gather(*(shelf.page(caller=number, **query) for number in range(4)))
    assert not [each for each in statements if "unnest" in each]


async def test_a_scope_with_an_array_is_not_shared(shelf: Shelf, statements: Statements) -> None:
    several = replace(LISTING, scopes={"names": lambda names: C.name == func.any(names)})
    shelf.fill([thing(number) for number in range(4)])
    names = [["thing 0"], ["thing 1", "thing 2"], ["thing 3", "thing 1"]]
    pages = await asyncio.gather(
        *(shelf.page(several, scopes={"names": each}, sort=("name",)) for each in names)
    )
    assert [[row["name"] for row in page.rows] for page in pages] == list(map(sorted, names))
    assert not [each for each in statements if "unnest" in each]


def test_shared_pages_have_a_limited_size() -> None:
    # A row has at most 61,024 bytes, and a page of more than PAGE_BYTES ends early.
    assert [pages_within([10_000], rows) for rows in (5, 21, 34, 1000)] == [109, 26, 16, 0]
    assert pages_within([500_000], 2) == 1
    assert pages_within([], 21) == SHARED_ROWS // 21
    assert pages_within([], 101) * 101 <= SHARED_ROWS
    assert pages_within([PAGE_BYTES], 1) == 1


def test_lists_of_ones_own_rows_are_shared() -> None:
    spec = sample("items.queries", "ITEMS")
    for nulls in (None, (False, False)):
        page = page_statement(spec, ("owner",), ("-created_at",), nulls, None, bounded=False)
        assert isinstance(page.query, SharedQuery)
        assert set(page.query.own) == ({"owner"} if nulls is None else {"owner", *AFTER})
    filtered = page_statement(spec, ("owner_id",), ("-created_at",), None, None, bounded=False)
    assert not isinstance(filtered.query, SharedQuery)


AFTER = ("after_0", "after_1")
