"""Connections are limited and shared fairly; dead ones are replaced, and every wait ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from psycopg.sql import SQL, Identifier
from sqlalchemy import String, bindparam, column, func, insert, literal, select, table, text
from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.authorization import public
from backend.core.context import Context
from backend.core.errors import ConflictError, error_responses
from backend.core.http.dependencies import Reader, Session
from backend.core.http.routing import Router
from backend.core.module import Module
from backend.db.connections import Timeouts
from backend.db.database import Database
from backend.db.errors import is_unavailable
from backend.db.queries import Query
from backend.modules.users.models import User, UserRole
from tests.actors import Actor, Client
from tests.applications import MODULES, make_app
from tests.databases import proxy
from tests.samples import sample

Item = sample("items.models", "Item")

ONE = Query(select(literal(1).label("one")))
SLEEP = Query(select(func.pg_sleep(bindparam("seconds")).label("slept")))
SHOWN = select(
    *(
        func.current_setting(name).label(name)
        for name in (
            "timezone",
            "application_name",
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
        )
    )
)
SETTINGS = Query(SHOWN)
PREPARED = Query(select(func.count().label("count")).select_from(table("pg_prepared_statements")))
TITLES = Query(select(column("title")).select_from(table("items")))
OURS = "pg_stat_activity WHERE datname = current_database() AND application_name = 'trellis'"
COUNT = SQL(f"SELECT count(*) FROM {OURS}")  # noqa: S608
END = SQL(f"SELECT pg_terminate_backend(pid, 5000) FROM {OURS}")  # noqa: S608
QUICK = Timeouts(pool=0.2, statement=0.3, lock=5)


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection to the test's database that does not belong to the application."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


MakeDatabase = Callable[..., Database]


@pytest.fixture
async def make_database(database_url: str) -> AsyncIterator[MakeDatabase]:
    made: list[Database] = []

    def make(size: int = 1, timeouts: Timeouts = QUICK) -> Database:
        made.append(Database(database_url, size=size, timeouts=timeouts))
        return made[-1]

    yield make
    for each in made:
        await each.close()


Use = Callable[[Database], None]


@pytest.fixture
async def use(app: FastAPI, context: Context, ada: Actor) -> Use:
    """Replaces the `Database` of the application, which serves ada's client."""
    await context.database.close()

    def replace_database(database: Database) -> None:
        app.state.context = replace(context, database=database)

    return replace_database


def count(db: psycopg.Connection, kind: str = "true") -> int:
    found = db.execute(COUNT + SQL(f" AND {kind}")).fetchone()
    assert found is not None
    return int(found[0])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # nothing sets an event
            await asyncio.sleep(0.002)


def asks_to_come_again(answer: httpx.Response) -> bool:
    """Return whether this is the 503 problem; `Retry-After` is checked on every response."""
    return answer.status_code == 503 and answer.json()["error"] == "SERVICE_UNAVAILABLE"


# Timeouts


async def test_no_free_connection_is_503(make_database: MakeDatabase, use: Use, ada: Actor) -> None:
    database = make_database()
    use(database)
    async with database.transaction() as session, asyncio.timeout(5):
        # Before its first statement, a transaction holds no connection.
        assert (await ada.post("/api/v1/items", json={"title": "Tea"})).status_code == 201
        await session.connection()
        assert asks_to_come_again(await ada.post("/api/v1/items", json={"title": "Milk"}))
        # Reads have connections of their own.
        assert (await ada.get("/api/v1/items")).status_code == 200
    assert (await ada.post("/api/v1/items", json={"title": "Milk"})).status_code == 201


async def test_no_free_connection_to_read_is_503(
    make_database: MakeDatabase, use: Use, ada: Actor, db: psycopg.Connection
) -> None:
    database = make_database(timeouts=Timeouts(pool=0.2))
    use(database)
    sleeping = asyncio.create_task(database.replica.first(SLEEP, seconds=30))
    await until(lambda: count(db, "wait_event = 'PgSleep'") == 1)
    assert asks_to_come_again(await ada.get("/api/v1/items"))
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    assert (await ada.get("/api/v1/items")).status_code == 200
    # The server ends the other statement, because its client has disconnected.
    await until(lambda: count(db, "wait_event = 'PgSleep'") == 0)


@pytest.mark.parametrize(
    "timeouts", [Timeouts(statement=0.2), Timeouts(lock=0.2)], ids=["statement", "lock"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_statement_that_waits_too_long_is_503(
    make_database: MakeDatabase,
    use: Use,
    ada: Actor,
    db: psycopg.Connection,
    timeouts: Timeouts,
    method: str,
) -> None:
    made = await ada.post("/api/v1/items", json={"title": "Milk"})
    path = "/api/v1/items" if method == "POST" else made.headers["location"]
    body = {"title": "Bread"} if method in ("POST", "PATCH") else None
    use(make_database(timeouts=timeouts))
    with db.transaction():
        db.execute("LOCK TABLE items")
        assert asks_to_come_again(await ada.request(method, path, json=body))
    assert (await ada.request(method, path, json=body)).status_code in (200, 201, 204)


@pytest.mark.slow
async def test_a_database_that_does_not_answer_is_503(
    database_url: str, use: Use, ada: Actor
) -> None:
    flows = asyncio.Event()
    flows.set()
    async with proxy(database_url, flows) as url:
        database = Database(url, size=1, timeouts=Timeouts(connect=2, statement=0.5))
        use(database)
        assert (await ada.get("/api/v1/items")).status_code == 200
        assert (await ada.post("/api/v1/items", json={"title": "Milk"})).status_code == 201
        flows.clear()
        async with asyncio.timeout(15):
            for _ in range(2):
                assert asks_to_come_again(await ada.get("/api/v1/items"))
        flows.set()
        assert (await ada.get("/api/v1/items")).status_code == 200
        await database.close()


@pytest.mark.slow
async def test_a_transaction_that_gets_no_answer_ends(database_url: str) -> None:
    flows = asyncio.Event()
    flows.set()
    async with proxy(database_url, flows) as url:
        database = Database(url, size=1, timeouts=Timeouts(connect=2, statement=0.5))

        async def ask_in_vain() -> None:
            async with asyncio.timeout(15), database.transaction() as session:
                await session.get(Item, uuid4())
                flows.clear()
                await session.get(Item, uuid4())

        with pytest.raises(DBAPIError) as raised:
            await ask_in_vain()
        assert is_unavailable(raised.value)
        flows.set()
        async with database.transaction() as session:
            await session.get(Item, uuid4())
        await database.close()


async def test_who_is_in_no_hurry_may_wait(make_database: MakeDatabase) -> None:
    database = make_database(timeouts=Timeouts(connect=0.1, statement=0.1))
    sleep = text("SELECT pg_sleep(0.5)")

    async def wait(transaction: AbstractAsyncContextManager[AsyncSession]) -> None:
        async with transaction as session:
            await (await session.connection()).execute(sleep)

    await wait(database.without_timeouts())
    for _ in range(2):
        with pytest.raises(DBAPIError):
            await wait(database.transaction())
    await wait(database.without_timeouts())


async def test_transaction_left_idle_is_ended(make_database: MakeDatabase) -> None:
    database = make_database(timeouts=Timeouts(idle_in_transaction=0.1))
    hung_up = asyncio.Event()

    async def dawdle() -> None:
        async with database.transaction() as session:
            await session.get(Item, uuid4())
            raw: Any = await (await session.connection()).get_raw_connection()
            socket = raw.driver_connection.fileno()
            asyncio.get_running_loop().add_reader(socket, hung_up.set)
            await hung_up.wait()
            asyncio.get_running_loop().remove_reader(socket)
            await session.get(Item, uuid4())

    # The end of the stream can be read before the reason.
    reasons = "idle-in-transaction timeout|server closed the connection"
    with pytest.raises(DBAPIError, match=reasons) as raised:
        await dawdle()
    assert is_unavailable(raised.value)
    async with database.transaction() as session:
        await session.get(Item, uuid4())


# Connections


async def test_connections_are_set_up_alike(
    make_database: MakeDatabase, db: psycopg.Connection
) -> None:
    name = Identifier(db.info.dbname)
    db.execute(SQL("ALTER DATABASE {} SET timezone = 'Asia/Tokyo'").format(name))
    database = make_database(timeouts=Timeouts(statement=1.5, lock=0.25, idle_in_transaction=60))
    expected = {
        "timezone": "UTC",
        "application_name": "trellis",
        "statement_timeout": "1500ms",
        "lock_timeout": "250ms",
        "idle_in_transaction_session_timeout": "1min",
    }
    assert await database.replica.first(SETTINGS) == expected
    async with database.transaction() as session:
        connection = await session.connection()
        found = await connection.execute(SHOWN)
        assert dict(found.mappings().one()) == expected


async def test_reads_keep_prepared_statements(make_database: MakeDatabase) -> None:
    reader = make_database().replica
    for _ in range(3):
        assert await reader.first(PREPARED) == {"count": 0}
    for _ in range(8):
        await reader.first(ONE)
    found = await reader.first(PREPARED)
    assert found is not None
    assert found["count"] >= 1


async def test_reads_outlive_a_changed_column(
    make_database: MakeDatabase, use: Use, ada: Actor, db: psycopg.Connection
) -> None:
    """A prepared statement fails permanently once the type of one of its columns changes."""
    database = make_database(size=3)
    use(database)
    await ada.post("/api/v1/items", json={"title": "Milk"})
    for _ in range(8):
        await asyncio.gather(*(database.replica.all(TITLES) for _ in range(3)))
    db.execute("ALTER TABLE items ALTER title TYPE text")
    for _ in range(2):
        found = await asyncio.gather(*(database.replica.all(TITLES) for _ in range(3)))
        assert found == [[{"title": "Milk"}]] * 3


@pytest.mark.slow
async def test_dead_idle_connections_are_noticed_before_use(
    make_database: MakeDatabase, use: Use, ada: Actor, db: psycopg.Connection
) -> None:
    database = make_database(size=3, timeouts=Timeouts())
    use(database)

    async def use_all() -> list[int]:
        requests = [
            # Lists of different lengths share no statements.
            *(ada.get(f"/api/v1/items?limit={limit}") for limit in range(1, 7)),
            *(ada.post("/api/v1/items", json={"title": "Milk"}) for _ in range(6)),
        ]
        return [answer.status_code for answer in await asyncio.gather(*requests)]

    expected = [200] * 6 + [201] * 6
    assert await use_all() == expected
    for _ in range(3):
        assert count(db) == 6
        db.execute(END)
        assert count(db) == 0
        assert await use_all() == expected


async def test_connections_never_exceed_twice_the_size(
    make_database: MakeDatabase, use: Use, ada: Actor, database_url: str
) -> None:
    use(make_database(size=2, timeouts=Timeouts()))
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as watcher:
        seen: list[int] = []
        done = asyncio.Event()

        async def watch() -> None:
            while not done.is_set():
                found = await (await watcher.execute(COUNT)).fetchone()
                assert found is not None
                seen.append(found[0])

        watching = asyncio.create_task(watch())
        answers = await asyncio.gather(
            *(ada.get(f"/api/v1/items?limit={limit}") for limit in range(1, 51)),
            *(ada.post("/api/v1/items", json={"title": "Milk"}) for _ in range(50)),
        )
        done.set()
        await watching
    assert {answer.status_code for answer in answers} == {200, 201}
    assert max(seen) == 4
    assert len(seen) > 20


async def test_connections_that_nothing_needs_are_closed(
    make_database: MakeDatabase, db: psycopg.Connection
) -> None:
    database = make_database(size=4, timeouts=Timeouts())

    async def write() -> None:
        async with database.transaction() as session:
            await session.get(Item, uuid4())
            await asyncio.sleep(0.05)

    async def use(number: int) -> None:
        reads = (database.primary.first(SLEEP, seconds=0.05) for _ in range(number))
        await asyncio.gather(*reads, *(write() for _ in range(number)))

    await use(4)
    assert count(db) == 8
    # All connections were used in the last period, so none is closed yet.
    await database.close_unused()
    assert count(db) == 8
    await use(2)
    await use(1)
    await database.close_unused()
    await until(lambda: count(db) == 4)
    await use(4)
    await database.close_unused()
    await database.close_unused()
    await until(lambda: count(db) == 0)
    await use(1)


@pytest.mark.slow
async def test_cancelled_reads_end_on_the_server_and_poison_nothing(
    make_database: MakeDatabase, db: psycopg.Connection
) -> None:
    reader = make_database(size=2, timeouts=Timeouts()).replica
    for _ in range(5):
        tasks = [asyncio.create_task(reader.first(SLEEP, seconds=30)) for _ in range(2)]
        await until(lambda: count(db, "wait_event = 'PgSleep'") == 2)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        await until(lambda: count(db, "state = 'active'") == 0)
        found = await asyncio.gather(reader.first(ONE), reader.first(ONE))
        assert list(found) == [{"one": 1}] * 2
        await until(lambda: count(db) <= 2)


async def test_answers_are_not_mixed_up_by_cancelled_reads(make_database: MakeDatabase) -> None:
    reader = make_database(size=2, timeouts=Timeouts()).replica
    echo = Query(select(bindparam("value", type_=String).label("value")))

    async def ask(number: int) -> None:
        assert await reader.first(echo, value=str(number)) == {"value": str(number)}

    for start in range(0, 400, 8):
        tasks = [asyncio.create_task(ask(start + each)) for each in range(8)]
        for _ in range(start % 40 // 4):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[1::2] == [None] * 4


async def test_failed_read_leaves_its_connection_in_use(
    make_database: MakeDatabase, db: psycopg.Connection
) -> None:
    reader = make_database().replica
    assert await reader.first(ONE)
    broken = Query(select(column("nothing")).select_from(table("nowhere")))
    with pytest.raises(psycopg.errors.UndefinedTable):
        await reader.all(broken)
    with pytest.raises(psycopg.errors.QueryCanceled):
        await reader.first(SLEEP, seconds=30)
    assert await reader.first(ONE) == {"one": 1}
    assert count(db) == 1


async def test_database_that_is_not_there_is_unavailable() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none", size=1, timeouts=QUICK)
    for _ in range(3):
        with pytest.raises(psycopg.OperationalError):
            await database.replica.first(ONE)
    assert database.replica.gate._free > 0
    await database.close()


# Errors of PostgreSQL that no module handles


# A module whose routes leave all checks to PostgreSQL.
raw = Router(prefix="/made-raw", tags=["made_raw"], dependencies=[public])
WITH_RAW = (*MODULES, Module(name="made_raw", router=raw))
both_began = asyncio.Barrier(2)


@raw.post("/users/{name}", status_code=204, responses=error_responses(ConflictError))
async def add_user(name: str, session: Session) -> None:
    session.add(User(email=f"{name}@example.com", username=name))


@raw.post("/roles/{name}", status_code=204, responses=error_responses(ConflictError))
async def add_role(name: str, session: Session) -> None:
    session.add(UserRole(user_id=uuid4(), role_name=name))


@raw.post("/items/{title}", status_code=204)
async def add_item(title: str, session: Session) -> None:
    await session.exec(insert(Item).values(title=title * 300, owner_id=uuid4()))


@raw.post("/locks/{first}/{second}", status_code=204)
async def lock(first: UUID, second: UUID, session: Session) -> None:
    await session.get(User, first, with_for_update=True)
    await both_began.wait()
    await session.get(User, second, with_for_update=True)


@raw.get("/quotients/{number}")
async def divide(number: int, reader: Reader) -> int:
    row = await reader.first(
        Query(select((literal(1) / bindparam("number")).label("quotient"))), number=number
    )
    assert row is not None
    return int(row["quotient"])


@pytest.fixture
async def probe(context: Context) -> AsyncIterator[Client]:
    async with Client(make_app(context, WITH_RAW)) as client:
        yield client


async def test_what_postgresql_refuses_is_told_without_its_words(probe: Client) -> None:
    assert (await probe.post("/api/v1/made-raw/users/grace")).status_code == 204
    for path, status, code in (
        ("users/grace", 409, "CONFLICT"),
        ("users/GRACE", 409, "CONFLICT"),
        ("roles/member", 409, "CONFLICT"),  # the user does not exist
        ("items/too-long", 422, "VALIDATION_ERROR"),
    ):
        answer = await probe.post(f"/api/v1/made-raw/{path}")
        assert (answer.status_code, answer.json()["error"]) == (status, code), path
        for word in ("psycopg", "INSERT", "constraint", "grace@", "ix_", "varying"):
            assert word not in answer.text
    assert (await probe.get("/api/v1/made-raw/quotients/1")).json() == 1
    answer = await probe.get("/api/v1/made-raw/quotients/0")
    assert (answer.status_code, answer.json()["error"]) == (422, "VALIDATION_ERROR")
    assert "division" not in answer.text


async def test_of_racing_equals_exactly_one_is_stored(
    probe: Client, db: psycopg.Connection
) -> None:
    answers = await asyncio.gather(*(probe.post("/api/v1/made-raw/users/grace") for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [204] + [409] * 9
    assert db.execute("SELECT count(*) FROM users").fetchone() == (1,)


async def test_of_racing_registrations_exactly_one_succeeds(
    client: Client, db: psycopg.Connection
) -> None:
    """This also holds for two spellings of one address."""
    answers = await asyncio.gather(
        *(
            client.post(
                "/api/v1/auth/register",
                json={"email": email, "password": "NewUser123!"},
            )
            for email in ("grace@example.com", "Grace@example.com") * 3
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
    refused = {answer.json()["error"] for answer in answers if answer.status_code == 409}
    assert refused == {"EMAIL_ALREADY_EXISTS"}
    assert db.execute("SELECT count(*) FROM users").fetchone() == (1,)


async def test_of_two_who_lock_each_other_out_one_is_told_to_come_again(
    probe: Client, ada: Actor, bob: Actor
) -> None:
    answers = await asyncio.gather(
        probe.post(f"/api/v1/made-raw/locks/{ada.id}/{bob.id}"),
        probe.post(f"/api/v1/made-raw/locks/{bob.id}/{ada.id}"),
    )
    assert sorted(answer.status_code for answer in answers) == [204, 503]
