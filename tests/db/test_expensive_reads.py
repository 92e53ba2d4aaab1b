"""Expensive reads have fewer connections and a shorter timeout than other reads."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import bindparam, func, select

from backend.core.context import Context
from backend.db.connections import Timeouts
from backend.db.database import Database
from backend.db.errors import DatabaseUnavailableError, TooManyReadsError
from backend.db.fair_semaphore import FairSemaphore
from backend.db.lists.specs import ListQuery, ListSpec
from backend.db.queries import Query
from backend.db.query_runner import QueryRunner
from backend.db.read_limits import PER_CALLER, PerCallerLimiter
from backend.modules.audit.queries import EVENTS
from backend.modules.roles.queries import ROLES
from backend.modules.users.queries import USERS
from tests.actors import Actor, Client
from tests.samples import optional
from tests.statements import Statements

ARTICLES = optional("articles.queries", "ARTICLES")
ITEMS = optional("items.queries", "ITEMS")
JOBS = optional("jobs.queries", "JOBS")

TIMEOUTS = Timeouts(pool=5, statement=10, expensive_read=0.3)
SHOWN = Query(
    select(
        func.current_setting("statement_timeout").label("limit"),
        func.pg_backend_pid().label("pid"),
        func.current_setting("timezone").label("zone"),
    )
)
SLEEP = Query(select(func.pg_sleep(bindparam("seconds")).label("slept")))
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=[False, True], ids=["session", "pooled"])
async def database(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Database]:
    """A database with one connection for reads, set up for sessions and for a pooler."""
    timeouts = replace(TIMEOUTS, pooled=request.param)
    made = Database(database_url, size=1, timeouts=timeouts)
    yield made
    await made.close()


# Classification


def named(part: ListSpec | dict[str, Any]) -> str:
    return part.name if isinstance(part, ListSpec) else str(part)


def asked(**query: Any) -> ListQuery:
    return ListQuery(cursor_key=b"", **query)


# None for the list of a module that is missing.
Reads = list[tuple[ListSpec | None, dict[str, Any]]]


def present(reads: Reads) -> Reads:
    """Leave out the lists of modules that are missing."""
    return [(listing, query) for listing, query in reads if listing is not None]


CHEAP: Reads = [
    (ARTICLES, {}),
    (ARTICLES, {"limit": 100, "offset": 1000}),
    (ARTICLES, {"cursor": "of any depth"}),
    (ARTICLES, {"sort": ("created_at",)}),
    (ARTICLES, {"sort": ("-created_at",)}),
    (ARTICLES, {"filters": {"created_after": MOMENT, "created_before": MOMENT}}),
    (ARTICLES, {"filters": {"author_id": UUID(int=1), "created_after": MOMENT}}),
    (ARTICLES, {"filters": {"status": "draft"}}),
    (ARTICLES, {"sort": ("title",)}),
    (ITEMS, {}),
    (ITEMS, {"filters": {"owner_id": UUID(int=1)}}),
    (USERS, {}),
    (EVENTS, {}),
    (EVENTS, {"filters": {"actor_id": UUID(int=1)}}),
    (EVENTS, {"filters": {"action": "auth.login", "occurred_after": MOMENT}}),
    (EVENTS, {"filters": {"user_agent": "a"}}),
    (ROLES, {"sort": ("-updated_at", "name"), "filters": {"built_in": True}}),
]
EXPENSIVE: Reads = [
    (ARTICLES, {"q": "a"}),
    (ARTICLES, {"total": True}),
    (ARTICLES, {"offset": 1001}),
    (ARTICLES, {"sort": ("-created_at", "title")}),
    (ARTICLES, {"sort": ("title",), "filters": {"status": "draft"}}),
    (ARTICLES, {"sort": ("title",), "filters": {"created_after": MOMENT}}),
    (ARTICLES, {"filters": {"author_id": UUID(int=1), "status": "draft"}}),
    (ITEMS, {"q": "a"}),
    (ITEMS, {"sort": ("-updated_at",), "filters": {"owner_id": UUID(int=1)}}),
    (USERS, {"q": "a"}),
    (USERS, {"filters": {"role": "admin"}}),
    (JOBS, {"sort": ("attempts",)}),
    (JOBS, {"filters": {"status": "failed"}}),
    (ROLES, {"q": "a"}),
    (EVENTS, {"filters": {"actor_id": UUID(int=1), "action": "auth.login"}}),
]


@pytest.mark.parametrize(("listing", "query"), present(CHEAP), ids=named)
def test_what_an_index_gives_in_order_is_cheap(listing: ListSpec, query: dict[str, Any]) -> None:
    assert not listing.is_expensive(asked(**query))


@pytest.mark.parametrize(("listing", "query"), present(EXPENSIVE), ids=named)
def test_all_else_is_expensive(listing: ListSpec, query: dict[str, Any]) -> None:
    assert listing.is_expensive(asked(**query))


# Concurrency limits


async def test_a_caller_has_only_so_many_at_once() -> None:
    share = PerCallerLimiter(2, wait=5)
    leave = asyncio.Event()

    async def read(caller: str) -> None:
        async with share.place(caller):
            await leave.wait()

    reading = [asyncio.create_task(read("ada")) for _ in range(PER_CALLER)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyReadsError):
        await read("ada")
    other = asyncio.create_task(read("bob"))
    await asyncio.sleep(0)
    leave.set()
    await asyncio.gather(*reading, other)
    assert not share._callers
    await read("ada")


@pytest.mark.parametrize(("size", "places"), [(1, 1), (4, 1), (10, 2), (100, 20)])
async def test_a_fifth_of_the_connections_is_for_them(size: int, places: int) -> None:
    share = QueryRunner("", size=size, timeouts=TIMEOUTS)._share
    inside = most = 0

    async def read(caller: int) -> None:
        nonlocal inside, most
        async with share.place(caller):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(read(number % 30) for number in range(100)))
    assert most == places


async def test_callers_have_their_turns_one_after_the_other() -> None:
    share = PerCallerLimiter(1, wait=5)
    order: list[str] = []

    async def read(caller: str) -> None:
        async with share.place(caller):
            order.append(caller)
            await asyncio.sleep(0)

    await asyncio.gather(*(read("greedy") for _ in range(8)), read("ada"), read("bob"))
    assert order[:3] == ["greedy", "ada", "bob"]
    assert order[3:] == ["greedy"] * 7


async def test_waiting_for_oneself_and_for_others_differ() -> None:
    share = PerCallerLimiter(1, wait=0.05)
    async with share.place("ada"):
        with pytest.raises(DatabaseUnavailableError):
            await share.place("bob").__aenter__()
        with pytest.raises(TooManyReadsError):
            await share.place("ada").__aenter__()
    assert not share._callers


async def test_a_caller_who_waits_because_of_others_is_not_blamed() -> None:
    share = PerCallerLimiter(1, wait=0.2)
    async with share.place("ada"):
        later = asyncio.create_task(share.place("ada").__aenter__())
        await asyncio.sleep(0.1)
        other = asyncio.create_task(share.place("bob").__aenter__())
        with pytest.raises(DatabaseUnavailableError):
            await later
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
    assert not share._callers


async def test_who_stops_waiting_takes_no_place_along() -> None:
    share = PerCallerLimiter(1, wait=5)

    async def read(caller: str) -> None:
        async with share.place(caller):
            await asyncio.sleep(0.001)

    for steps in range(12):
        tasks = [asyncio.create_task(read(caller)) for caller in ("ada", "ada", "bob", "bob")]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks[steps % 2 :: 2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not share._callers
        gate: FairSemaphore = share._places
        assert gate._free == 1


# Timeouts


async def test_they_have_less_time_and_leave_nothing_behind(database: Database) -> None:
    before = await database.replica.first(SHOWN)
    assert before is not None
    async with database.replica.expensive("ada") as ask:
        for _ in range(8):
            ((limit, pid, zone),) = [row.values() for row in await ask(SHOWN)]
            assert (limit, pid, zone) == ("300ms", before["pid"], "UTC")
            assert await database.replica.first(SHOWN) == before
    assert before["limit"] in ("10s", "0")


async def test_what_takes_longer_ends_and_its_connection_goes_on(database: Database) -> None:
    before = await database.replica.first(SHOWN)
    async with database.replica.expensive("ada") as ask:
        for _ in range(2):
            with pytest.raises(psycopg.errors.QueryCanceled):
                await ask(SLEEP, seconds=5)
        assert await database.replica.first(SHOWN) == before
    await database.replica.first(SLEEP, seconds=0.5)


async def test_they_never_have_more_time_than_others(database_url: str) -> None:
    short = Database(database_url, size=1, timeouts=Timeouts(statement=0.2, expensive_read=60))
    async with short.replica.expensive("ada") as ask:
        assert (await ask(SHOWN))[0]["limit"] == "200ms"
    await short.close()


async def test_one_that_is_given_up_is_ended(database: Database) -> None:
    async def sleep() -> None:
        async with database.replica.expensive("ada") as ask:
            await ask(SLEEP, seconds=0.2)

    for pause in (0, 0.001, 0.01, 0.05):
        task = asyncio.create_task(sleep())
        await asyncio.sleep(pause)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        found = await database.replica.first(SHOWN)
        assert found is not None
        assert found["limit"] in ("10s", "0")


# In the application


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url) as connection:
        yield connection


@pytest.fixture
async def small(
    app: FastAPI, context: Context, database_url: str, ada: Actor
) -> AsyncIterator[Database]:
    """The application's database, replaced by one with two connections for reads."""
    await context.database.close()
    timeouts = replace(TIMEOUTS, pool=60, expensive_read=0.03)
    made = Database(database_url, size=2, timeouts=timeouts)
    app.state.context = replace(context, database=made)
    yield made
    await made.close()


async def test_searches_that_hang_hold_nobody_else_up(
    small: Database, ada: Actor, bob: Actor, client: Client, db: psycopg.Connection
) -> None:
    db.execute("LOCK TABLE articles")
    async with small.primary.expensive("somebody else"):
        searches = [
            asyncio.create_task(caller.get("/api/v1/articles", params={"q": "a"}))
            for caller in (client, bob)
            for _ in range(PER_CALLER + 3)
        ]
        async with asyncio.timeout(30):
            while sum(search.done() for search in searches) < 6:  # noqa: ASYNC110  # no event
                await asyncio.sleep(0.01)
    for _ in range(10):
        assert (await ada.get("/api/v1/users/me")).status_code == 200
        assert (await ada.get("/api/v1/items")).status_code == 200
    answers = await asyncio.gather(*searches)
    db.rollback()
    # Searches within a caller's limit time out (503); those beyond it are refused (429).
    assert sorted({answer.status_code for answer in answers}) == [429, 503]
    for answer in answers:
        assert int(answer.headers["retry-after"]) == 1
        problem = answer.json()
        assert problem["error"] in ("RATE_LIMITED", "SERVICE_UNAVAILABLE")
    assert sum(answer.status_code == 429 for answer in answers) == 6
    assert (await bob.get("/api/v1/articles", params={"q": "a"})).status_code == 200


async def test_cheap_reads_set_nothing(ada: Actor, statements: Statements) -> None:
    for path in ("/api/v1/items", "/api/v1/articles", "/api/v1/users/me"):
        assert (await ada.get(path)).status_code == 200
    assert not [each for each in statements if "BEGIN" in each]
    assert (await ada.get("/api/v1/items?total=true")).status_code == 200
    assert len([each for each in statements if "BEGIN" in each]) == 2
