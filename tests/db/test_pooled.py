"""`Timeouts(pooled=True)` leaves no state in a server session.

These tests use PostgreSQL directly; `tests/test_pooler.py` uses pgbouncer.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import func, literal, select, table, text
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from backend.core.context import Context
from backend.db.connections import REMEDY, Connection, Timeouts
from backend.db.database import Database
from backend.db.errors import CommitAndRaise, PoolerError, is_unavailable
from backend.db.queries import Query
from backend.db.session_features import SessionFeatures, probe_session
from tests.actors import Client
from tests.applications import make_context

TIMEOUTS = Timeouts(pool=2, statement=0.5, lock=0.25, idle_in_transaction=60, pooled=True)
NAMES = [*TIMEOUTS.server_settings(), "application_name"]
SHOWN = select(*(func.current_setting(name).label(name) for name in NAMES))
PREPARED = Query(select(func.count().label("count")).select_from(table("pg_prepared_statements")))
ONE = Query(select(literal(1).label("one")))
TITLES = select(literal(1)).select_from(table("items"))
EXPECTED = {
    "statement_timeout": "500ms",
    "lock_timeout": "250ms",
    "idle_in_transaction_session_timeout": "1min",
    "client_connection_check_interval": "1s",
    "timezone": "UTC",
    "application_name": "trellis",
}


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = Identifier(connection.info.dbname)
        connection.execute(SQL("ALTER DATABASE {} SET timezone = 'Asia/Tokyo'").format(name))
        yield connection


@pytest.fixture
async def database(db: psycopg.Connection, database_url: str) -> AsyncIterator[Database]:
    """One connection each for reads and transactions; the default time zone is not UTC."""
    made = Database(database_url, size=1, timeouts=TIMEOUTS)
    yield made
    await made.close()


async def driver_of(database: Database) -> Connection:
    """Run a transaction and return its driver connection, the only one for transactions."""
    async with database.transaction() as session:
        raw: Any = await (await session.connection()).get_raw_connection()
        found: Connection = raw.driver_connection
    return found


async def fail(database: Database) -> None:
    async with database.transaction() as session:
        await (await session.connection()).execute(text("SELECT 1 / 0"))


async def test_limits_are_those_of_a_transaction(database: Database) -> None:
    driver = await driver_of(database)
    shown = Query(SHOWN)
    before = await (await driver.execute(shown.sql, shown.parameters({}))).fetchone()
    assert before is not None
    assert before[NAMES.index("statement_timeout")] == "0"
    assert before[NAMES.index("timezone")] == "Asia/Tokyo"
    async with database.transaction() as session:
        found = await (await session.connection()).execute(SHOWN)
        assert dict(found.mappings().one()) == EXPECTED
    with pytest.raises(DBAPIError, match="division by zero"):
        await fail(database)
    assert await driver_of(database) is driver
    assert await (await driver.execute(shown.sql, shown.parameters({}))).fetchone() == before


async def test_they_cost_no_round_trip(database: Database) -> None:
    """The driver's own BEGIN takes a round trip, too."""
    await driver_of(database)
    trips = 0
    wait = Connection.wait

    async def counted(self: Connection, *arguments: Any, **options: Any) -> Any:
        nonlocal trips
        trips += 1
        return await wait(self, *arguments, **options)

    Connection.wait = counted  # type: ignore[method-assign]  # watched, not replaced
    try:
        async with database.transaction() as session:
            await (await session.connection()).execute(TITLES)
    finally:
        Connection.wait = wait  # type: ignore[method-assign]  # see above
    # BEGIN with its limits, the statement, COMMIT, and the driver's first wait for the result.
    assert trips <= 4


async def test_nothing_is_prepared(database: Database) -> None:
    driver = await driver_of(database)
    for _ in range(10):
        await database.replica.first(ONE)
        async with database.transaction() as session:
            await (await session.connection()).execute(TITLES)
    assert await database.replica.first(PREPARED) == {"count": 0}
    assert await (await driver.execute(PREPARED.sql)).fetchone() == (0,)


async def test_transactions_commit_and_roll_back_as_without(
    database: Database, db: psycopg.Connection
) -> None:
    class Refusal(CommitAndRaise, Exception): ...

    db.execute("CREATE TABLE made_marks (name text UNIQUE)")

    async def mark(name: str, error: Exception | None = None) -> None:
        async with database.transaction() as session:
            connection = await session.connection()
            await connection.execute(text("INSERT INTO made_marks VALUES (:name)"), {"name": name})
            async with session.begin_nested() as savepoint:
                connection = await session.connection()
                await connection.execute(text("INSERT INTO made_marks VALUES ('never')"))
                await savepoint.rollback()
            if error:
                raise error

    async def go_on() -> None:
        async with database.transaction() as session:
            connection = await session.connection()
            await connection.execute(text("INSERT INTO made_marks VALUES ('gone, too')"))
            with pytest.raises(DBAPIError):
                await connection.execute(text("SELECT 1 / 0"))

    await mark("kept")
    with pytest.raises(Refusal):
        await mark("kept by refusal", Refusal())
    with pytest.raises(ValueError, match="no"):
        await mark("gone", ValueError("no"))
    with pytest.raises(PendingRollbackError):
        await go_on()
    assert db.execute("SELECT name FROM made_marks ORDER BY name").fetchall() == [
        ("kept",),
        ("kept by refusal",),
    ]


async def test_a_transaction_may_choose_its_isolation(database: Database) -> None:
    """SET TRANSACTION must precede the first query, including one that sets limits."""
    async with database.transaction() as session:
        connection = await session.connection()
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        level = await connection.scalar(text("SHOW transaction_isolation"))
    assert level == "repeatable read"


async def test_statements_end(database: Database) -> None:
    sleep = text("SELECT pg_sleep(30)")
    with pytest.raises(DBAPIError, match="statement timeout") as raised:
        async with database.transaction() as session:
            await (await session.connection()).execute(sleep)
    assert is_unavailable(raised.value)
    async with database.without_timeouts() as session:
        await (await session.connection()).execute(text("SELECT pg_sleep(0.6)"))


async def test_the_application_does_not_depend_on_the_time_zone(
    db: psycopg.Connection, database_url: str, app: Any, client: Client
) -> None:
    context: Context = make_context(database_url, database_pooler="transaction")
    context.state.started = True
    app.state.context = context
    account = {"email": "ada@example.com", "password": "NewUser123!"}
    made = await client.post("/api/v1/auth/register", json=account)
    assert made.status_code == 201
    signed_in = await client.post("/api/v1/auth/login", json=account)
    client.headers["Authorization"] = f"Bearer {signed_in.json()['access_token']}"
    item = (await client.post("/api/v1/items", json={"title": "Milk"})).json()
    path = f"/api/v1/items?created_after={item['created_at']}"
    (listed,) = (await client.get(path)).json()["data"]
    assert listed == item
    assert item["created_at"].endswith("Z")
    assert (await client.get("/health/ready")).json()["checks"]["database"]["status"] == "ok"
    await context.database.close()


# Detection of poolers


async def test_a_server_keeps_sessions(database_url: str) -> None:
    found = await probe_session(database_url, Timeouts())
    assert found == SessionFeatures(
        transactions=True, options=True, settings=True, prepared=True, listens=True
    )
    assert found.keeps_session
    assert found.lost == []


@pytest.mark.parametrize("change", ["DEALLOCATE ALL", "PREPARE _pg3_1 AS SELECT 1"])
async def test_a_lost_statement_is_no_defect_but_a_pooler(database_url: str, change: str) -> None:
    """Prepared statements disappear or collide when a client gets another client's session."""
    database = Database(database_url, size=1, timeouts=Timeouts())
    for _ in range(6):
        await database.replica.first(ONE)
    await _run_as_another(database, change)

    async def go_on() -> None:
        for _ in range(10):
            await database.replica.first(ONE)
            await database.replica.first(PREPARED)

    with pytest.raises(PoolerError, match=REMEDY):
        await go_on()
    await database.close()


async def _run_as_another(database: Database, statement: str) -> None:
    (cursor,) = database.replica._idle
    cursor.connection.pgconn.exec_(statement.encode())


async def test_a_connection_whose_options_were_ignored_is_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = Connection.connect

    async def ignoring(address: str, *, options: str, **others: Any) -> Any:
        assert "statement_timeout" in options
        return await connect(address, **others)

    monkeypatch.setattr(Connection, "connect", ignoring)
    database = Database(database_url, size=1, timeouts=Timeouts())
    with pytest.raises(PoolerError, match="ignores the startup parameter 'options'"):
        await database.replica.first(ONE)
    with pytest.raises(PoolerError) as raised:
        async with database.transaction() as session:
            await session.connection()
    assert is_unavailable(raised.value)
    await database.close()


def test_the_environment_does_not_look_like_a_pooler(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGAPPNAME", "another")

    async def look() -> None:
        connection = await Timeouts().open(database_url)
        assert connection.info.parameter_status("application_name") == "trellis"
        await connection.close()

    asyncio.run(look())
