"""A write is acknowledged exactly if it is committed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, cast

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from psycopg.sql import SQL, Identifier
from sqlalchemy import Column, Integer, MetaData, Table, insert, select
from sqlalchemy.exc import IntegrityError, OperationalError, PendingRollbackError
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.authorization import public
from backend.core.context import Context
from backend.core.errors import AppError, ConflictError, error_responses
from backend.core.http.dependencies import Session
from backend.core.http.routing import Router
from backend.core.module import Module
from backend.db.connections import Timeouts
from backend.db.database import AfterCommit, Database, after_commit
from backend.db.errors import CommitAndRaise
from tests.actors import Actor, Client
from tests.applications import MODULES, make_app

NOTES = Table("made_jots", MetaData(), Column("number", Integer))
# Each write succeeds, and then the COMMIT of its transaction fails.
REFUSE_AT_COMMIT = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION USING ERRCODE = {sqlstate}, MESSAGE = 'refused at commit'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE OR DELETE ON {table}
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
"""
OTHERS = "pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
END_OTHERS = SQL(f"SELECT pg_terminate_backend(pid, 5000) FROM {OTHERS}")  # noqa: S608
COUNT_OTHERS = SQL(f"SELECT count(*) FROM {OTHERS}")  # noqa: S608
WAITING = "wait_event_type = 'Lock'"
REGISTRATION = {"email": "grace@example.com", "username": "grace", "password": "NewUser123!"}


class CountedRefusal(AppError, CommitAndRaise):
    status = 403
    code = "COUNTED_REFUSAL"
    detail = "Refused, and noted."


class PlainRefusal(AppError):
    status = 403
    code = "PLAIN_REFUSAL"
    detail = "Refused."


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection outside the application; it creates a table for jots."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE made_jots (number integer UNIQUE)")
        yield connection


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with one connection, so that a lost or broken one shows at once."""
    made = Database(database_url, size=1, timeouts=Timeouts(pool=2, statement=5, lock=2))
    yield made
    await made.close()


def numbers(db: psycopg.Connection) -> list[int]:
    return [number for (number,) in db.execute("SELECT number FROM made_jots ORDER BY number")]


def refuse_at_commit(db: psycopg.Connection, table: str, sqlstate: str = "23514") -> None:
    db.execute(SQL(REFUSE_AT_COMMIT).format(sqlstate=sqlstate, table=Identifier(table)))


async def note(session: AsyncSession, number: int) -> None:
    await session.exec(insert(NOTES).values(number=number))


async def stored_numbers(session: AsyncSession) -> list[int]:
    return [number async for number in await session.stream_scalars(select(NOTES.c.number))]


def recorder(record: list[str], entry: str = "sent") -> Callable[[], Awaitable[None]]:
    async def callback() -> None:
        record.append(entry)

    return callback


async def write(
    database: Database,
    number: int,
    *,
    then: AfterCommit | None = None,
    error: BaseException | type[BaseException] | None = None,
) -> None:
    """Write a note in a transaction of its own, which ends with `error`."""
    async with database.transaction() as session:
        if then:
            after_commit(session, then)
        await note(session, number)
        if error:
            raise error


async def test_clean_exit_commits(db: psycopg.Connection, database: Database) -> None:
    async with database.transaction() as session:
        await note(session, 1)
        assert numbers(db) == []
    assert numbers(db) == [1]


@pytest.mark.parametrize("error", [ValueError, PlainRefusal, asyncio.CancelledError, SystemExit])
async def test_any_exception_rolls_back(
    db: psycopg.Connection, database: Database, error: type[BaseException]
) -> None:
    done: list[str] = []
    with pytest.raises(error):
        await write(database, 1, then=recorder(done), error=error)
    assert numbers(db) == []
    await write(database, 2)
    assert numbers(db) == [2]
    assert done == []


async def test_after_commit_runs_in_order_and_finds_all_stored(
    db: psycopg.Connection, database: Database
) -> None:
    seen: list[tuple[str, list[int]]] = []

    def looker(name: str) -> AfterCommit:
        async def look() -> None:
            seen.append((name, numbers(db)))

        return look

    async with database.transaction() as session:
        after_commit(session, looker("first"))
        await note(session, 1)
        after_commit(session, looker("second"))
        assert seen == []
    assert seen == [("first", [1]), ("second", [1])]


async def test_after_commit_may_use_the_only_connection(
    db: psycopg.Connection, database: Database
) -> None:
    await write(database, 1, then=lambda: write(database, 2))
    assert numbers(db) == [1, 2]


async def test_failing_callback_takes_nothing_back(
    db: psycopg.Connection, database: Database
) -> None:
    async def fail() -> None:
        raise ValueError("the mail server is down")

    with pytest.raises(ValueError, match="mail server"):
        await write(database, 1, then=fail)
    assert numbers(db) == [1]


async def test_refusal_that_keeps_changes_commits_and_is_raised(
    db: psycopg.Connection, database: Database
) -> None:
    done: list[str] = []
    refusal = CountedRefusal()
    with pytest.raises(CountedRefusal) as raised:
        await write(database, 1, then=recorder(done), error=refusal)
    assert raised.value is refusal
    assert numbers(db) == [1]
    assert done == ["sent"]


async def test_refusal_whose_changes_cannot_be_kept_is_not_told(
    db: psycopg.Connection, database: Database
) -> None:
    refuse_at_commit(db, "made_jots")
    with pytest.raises(IntegrityError, match="refused at commit"):
        await write(database, 1, error=CountedRefusal)
    assert numbers(db) == []


async def test_nested_transaction_is_undone_alone(
    db: psycopg.Connection, database: Database
) -> None:
    async def twice(session: AsyncSession) -> None:
        async with session.begin_nested():
            await note(session, 2)
            await note(session, 2)

    async with database.transaction() as session:
        await note(session, 1)
        with pytest.raises(IntegrityError):
            await twice(session)
        async with session.begin_nested():
            await note(session, 3)
    assert numbers(db) == [1, 3]


async def test_nested_transactions_go_with_the_outer_one(
    db: psycopg.Connection, database: Database
) -> None:
    async def nest() -> None:
        async with database.transaction() as session:
            async with session.begin_nested():
                await note(session, 1)
                async with session.begin_nested():
                    await note(session, 2)
            assert await stored_numbers(session) == [1, 2]
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        await nest()
    assert numbers(db) == []


async def test_failure_that_is_swallowed_is_no_success(
    db: psycopg.Connection, database: Database
) -> None:
    """PostgreSQL rolls back such a transaction at COMMIT without an error."""
    done: list[str] = []

    async def swallow() -> None:
        async with database.transaction() as session:
            after_commit(session, recorder(done))
            await note(session, 1)
            with pytest.raises(IntegrityError):
                await note(session, 1)

    with pytest.raises(PendingRollbackError, match="nothing is stored"):
        await swallow()
    assert numbers(db) == []
    await write(database, 2)
    assert numbers(db) == [2]
    assert done == []


async def test_commit_that_fails_raises(db: psycopg.Connection, database: Database) -> None:
    done: list[str] = []
    refuse_at_commit(db, "made_jots")
    with pytest.raises(IntegrityError, match="refused at commit"):
        await write(database, 1, then=recorder(done))
    assert numbers(db) == []
    db.execute("DROP TRIGGER refuse ON made_jots")
    await write(database, 2)
    assert numbers(db) == [2]
    assert done == []


async def test_connection_that_dies_before_the_commit_raises(
    db: psycopg.Connection, database: Database
) -> None:
    done: list[str] = []

    async def lose_connection() -> None:
        async with database.transaction() as session:
            after_commit(session, recorder(done))
            await note(session, 1)
            db.execute(END_OTHERS)

    with pytest.raises(OperationalError) as raised:
        await lose_connection()
    assert raised.value.connection_invalidated
    assert numbers(db) == []
    await write(database, 2)
    assert numbers(db) == [2]
    assert done == []


async def test_writes_are_seen_by_nobody_until_they_are_committed(
    db: psycopg.Connection, context: Context
) -> None:
    async with context.database.transaction() as reader:
        async with context.database.transaction() as writer:
            await note(writer, 1)
            assert await stored_numbers(writer) == [1]
            assert await stored_numbers(reader) == []
        assert await stored_numbers(reader) == [1]


# Over HTTP. Each request writes, and its COMMIT fails.


@pytest.fixture
def stored(db: psycopg.Connection) -> Callable[[], Any]:
    """Reads all rows that these requests could change."""
    tables = ("users", "user_roles", "items", "articles")

    def read() -> Any:
        query = SQL("SELECT * FROM {} ORDER BY 1, 2")
        return [db.execute(query.format(Identifier(each))).fetchall() for each in tables]

    return read


@pytest.fixture
async def item(ada: Actor) -> str:
    made = await ada.post("/api/v1/items", json={"title": "Milk"})
    return str(made.headers["location"])


@pytest.mark.parametrize(
    ("table", "method", "path", "body"),
    [
        ("items", "POST", "/api/v1/items", {"title": "Bread"}),
        ("articles", "POST", "/api/v1/articles", {"title": "Jots", "content": "Long."}),
        ("users", "POST", "/api/v1/auth/register", REGISTRATION),
        ("items", "PATCH", "{item}", {"title": "Bread"}),
        ("items", "DELETE", "{item}", None),
    ],
)
@pytest.mark.usefixtures("context")
async def test_write_whose_commit_fails_is_not_acknowledged(
    db: psycopg.Connection,
    ada: Actor,
    item: str,
    stored: Callable[[], Any],
    table: str,
    method: str,
    path: str,
    body: Any,
) -> None:
    refuse_at_commit(db, table)
    before = stored()
    answer = await ada.request(method, path.format(item=item), json=body)
    assert answer.status_code == 422, answer.text
    assert "location" not in answer.headers
    assert stored() == before
    db.execute(SQL("DROP TRIGGER refuse ON {}").format(Identifier(table)))
    again = await ada.request(method, path.format(item=item), json=body)
    assert again.status_code in (200, 201, 204), again.text
    assert stored() != before


# A module whose routes write jots, and a record of what they have sent.
sent: list[str] = []
jots = Router(prefix="/made-jots", tags=["made_jots"], dependencies=[public])
WITH_NOTES = (*MODULES, Module(name="made_jots", router=jots))


async def write_note(session: AsyncSession, number: int) -> None:
    after_commit(session, recorder(sent))
    await note(session, number)


@jots.post("/{number}", status_code=204, responses=error_responses(ConflictError))
async def add_note(number: int, session: Session) -> None:
    await write_note(session, number)


@jots.post("/{number}/refused", status_code=204, responses=error_responses(PlainRefusal))
async def refuse_note(number: int, session: Session) -> None:
    await write_note(session, number)
    raise PlainRefusal


@jots.post(
    "/{number}/counted", status_code=204, responses=error_responses(CountedRefusal, ConflictError)
)
async def count_note(number: int, session: Session) -> None:
    await write_note(session, number)
    raise CountedRefusal


@jots.post("/{number}/unserialisable")
async def tell_note(number: int, session: Session) -> int:
    await write_note(session, number)
    return "no number"  # type: ignore[return-value]  # on purpose


@pytest.fixture
async def probe(context: Context) -> AsyncIterator[Client]:
    sent.clear()
    async with Client(make_app(context, WITH_NOTES)) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "status", "kept"),
    [
        ("/api/v1/made-jots/1", 204, True),
        ("/api/v1/made-jots/1/refused", 403, False),
        ("/api/v1/made-jots/1/counted", 403, True),
        ("/api/v1/made-jots/1/unserialisable", 500, False),
    ],
)
@pytest.mark.usefixtures("log")
async def test_route_stores_and_sends_as_it_answers(
    db: psycopg.Connection, probe: Client, path: str, status: int, kept: bool
) -> None:
    answer = await probe.post(path)
    assert answer.status_code == status
    assert numbers(db) == ([1] if kept else [])
    assert sent == (["sent"] if kept else [])


@pytest.mark.parametrize(
    ("sqlstate", "status", "code"),
    [
        ("23505", 409, "CONFLICT"),
        ("23514", 422, "VALIDATION_ERROR"),
        ("22003", 422, "VALIDATION_ERROR"),
        ("40001", 503, "SERVICE_UNAVAILABLE"),
        ("53100", 503, "SERVICE_UNAVAILABLE"),
        ("57P01", 503, "SERVICE_UNAVAILABLE"),
        ("P0001", 500, "INTERNAL_ERROR"),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/made-jots/1", "/api/v1/made-jots/1/counted"])
@pytest.mark.usefixtures("log")  # printing a traceback with all its values takes seconds
async def test_failing_commit_is_told_by_its_reason_and_sends_nothing(
    db: psycopg.Connection,
    probe: Client,
    path: str,
    sqlstate: str,
    status: int,
    code: str,
) -> None:
    refuse_at_commit(db, "made_jots", sqlstate)
    answer = await probe.post(path)
    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert "refused at commit" not in answer.text
    assert numbers(db) == []
    assert sent == []


# Requests cancelled at any wait, as a server may do when the client has disconnected.


@pytest.fixture
async def narrow(app: FastAPI, context: Context, ada: Actor) -> AsyncIterator[Context]:
    """The application's context, with one connection for writers and one for readers."""
    await context.database.close()
    timeouts = Timeouts(pool=2, statement=5, lock=2)
    assert context.settings.database_url is not None
    url = context.settings.database_url.get_secret_value()
    made = replace(context, database=Database(url, size=1, timeouts=timeouts))
    app.state.context = made
    yield made
    await made.database.close()


@dataclass(frozen=True)
class Cut:
    """Awaits a call and cancels it at its `at`-th wait, if it has so many.

    If `late`, it is cancelled when the awaited result has arrived, before it resumes.
    """

    call: Coroutine[Any, Any, httpx.Response]
    at: int
    late: bool

    def __await__(self) -> Generator[Any, Any, httpx.Response]:
        task = asyncio.current_task()
        assert task is not None
        steps = self.call.__await__()
        cancelled = False
        for number in count(1):
            try:
                # A new exception: keeping the caught one would be a reference cycle,
                # which keeps connections open.
                awaited = steps.throw(asyncio.CancelledError()) if cancelled else steps.send(None)
            except StopIteration as end:
                return cast(httpx.Response, end.value)
            if number == self.at and self.late and awaited is not None:
                awaited.add_done_callback(lambda _: task.cancel())
            elif number == self.at:
                task.cancel()
            try:
                yield awaited
                cancelled = False
            except asyncio.CancelledError:
                cancelled = True
        raise AssertionError


async def is_cancelled(call: Coroutine[Any, Any, httpx.Response], *, at: int, late: bool) -> bool:
    """Return whether the call was cancelled before it ended."""

    async def await_it() -> httpx.Response:
        return await Cut(call, at, late)

    try:
        assert (await asyncio.create_task(await_it())).is_success
    except asyncio.CancelledError:
        return True
    return False


# A large text is counted by a second statement, so the item belongs to a transaction.
@pytest.mark.parametrize(("size", "waits"), [(0, 2), (1000, 5)])
@pytest.mark.parametrize("late", [False, True])
async def test_cancelled_writes_leave_no_broken_connection(
    db: psycopg.Connection, ada: Actor, narrow: Context, late: bool, size: int, waits: int
) -> None:
    for at in count(1):
        body = {"title": f"cut {at}", "description": "d" * size}
        if not await is_cancelled(ada.post("/api/v1/items", json=body), at=at, late=late):
            break
        answer = await ada.post("/api/v1/items", json={"title": f"whole {at}"})
        assert answer.status_code == 201, f"cancelled at {at}: {answer.text}"
    # At least one wait per round trip: the caller's identity and the INSERT; BEGIN, the usage of
    # the quota and COMMIT.
    assert at > waits
    found = db.execute("SELECT count(*) FROM items WHERE title LIKE 'whole %'").fetchone()
    assert found == (at - 1,)
    await nobody_is_inside(db, narrow)


@pytest.mark.parametrize("late", [False, True])
async def test_cancelled_reads_leave_no_broken_connection(
    db: psycopg.Connection, ada: Actor, narrow: Context, late: bool
) -> None:
    titles = {str(number) for number in range(3)}
    for title in titles:
        await ada.post("/api/v1/items", json={"title": title})
    for at in count(1):
        if not await is_cancelled(ada.get("/api/v1/items?total=true"), at=at, late=late):
            break
        answer = await ada.get("/api/v1/items?total=true")
        assert answer.status_code == 200, f"cancelled at {at}: {answer.text}"
        assert {row["title"] for row in answer.json()["data"]} == titles
    assert at > 3
    await nobody_is_inside(db, narrow)


async def test_request_cancelled_while_it_waits_for_a_lock(
    db: psycopg.Connection, ada: Actor, item: str, narrow: Context
) -> None:
    with db.transaction():
        db.execute("SELECT FROM items FOR UPDATE")
        task = asyncio.ensure_future(ada.patch(item, json={"title": "Bread"}))
        await until(lambda: connections(db, WAITING) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The request holds neither its connection nor its place in the queue for the row.
        await until(lambda: connections(db, WAITING) == 0)
        other = await ada.post("/api/v1/items", json={"title": "Eggs"})
        assert other.status_code == 201
    answer = await ada.patch(item, json={"title": "Cheese"})
    assert answer.json()["title"] == "Cheese"
    await nobody_is_inside(db, narrow)


async def test_requests_cancelled_while_they_wait_for_a_connection(
    db: psycopg.Connection, ada: Actor, narrow: Context
) -> None:
    async with narrow.database.transaction() as session:
        await session.connection()
        tasks = [
            asyncio.ensure_future(ada.post("/api/v1/items", json={"title": str(number)}))
            for number in range(6)
        ]
        gate = narrow.database.pools["transactions"]
        await until(lambda: len(gate._others) == 6)
        for task in tasks[::2]:
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results[::2]:
        assert isinstance(result, asyncio.CancelledError)
    for result in results[1::2]:
        assert isinstance(result, httpx.Response)
        assert result.status_code == 201
    titles = db.execute("SELECT title FROM items ORDER BY title").fetchall()
    assert titles == [("1",), ("3",), ("5",)]
    await nobody_is_inside(db, narrow)


def connections(db: psycopg.Connection, kind: str = "true") -> int:
    """Return the number of other connections to the database under test."""
    # Within a transaction PostgreSQL keeps returning the first snapshot of its statistics.
    db.execute("SELECT pg_stat_clear_snapshot()")
    found = db.execute(COUNT_OTHERS + SQL(f" AND {kind}")).fetchone()
    assert found is not None
    return int(found[0])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # PostgreSQL sets no event
            await asyncio.sleep(0.002)


async def nobody_is_inside(db: psycopg.Connection, context: Context) -> None:
    """Assert that no transaction is open, and that both pools have a free place."""
    await until(lambda: connections(db, "state <> 'idle'") == 0)
    await until(lambda: connections(db) <= 2)
    async with context.database.transaction() as session:
        await stored_numbers(session)
    assert context.database.pools["transactions"]._free > 0
    assert context.database.replica.gate._free > 0
