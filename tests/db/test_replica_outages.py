"""Reads use the primary at once while the replica is unavailable, frozen or too far behind."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
import structlog
from sqlalchemy import column, func, select, table

from backend.db.connections import Timeouts
from backend.db.database import Database
from backend.db.queries import Query
from tests.postgres_servers import PostgresServer, primary_and_standby

pytestmark = pytest.mark.slow

WHERE = Query(select(func.pg_is_in_recovery().label("standby")))
MAX_LAG = 2.0
# No server listens on port 1.
ABSENT = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    with primary_and_standby() as made:
        yield made


@pytest.fixture
async def database(pair: tuple[PostgresServer, PostgresServer]) -> AsyncIterator[Database]:
    primary, standby = pair
    made = Database(
        primary.url(),
        replica_url=standby.url(),
        replica_max_lag=MAX_LAG,
        size=4,
        timeouts=Timeouts(),
    )
    async with made.maintained():
        yield made
    await made.close()


async def on_standby(database: Database) -> bool:
    row = await database.replica.first(WHERE)
    assert row is not None
    return bool(row["standby"])


async def eventually_on_standby(database: Database, *, wanted: bool) -> None:
    async with asyncio.timeout(15):
        while await on_standby(database) is not wanted:  # noqa: ASYNC110  # another server's state
            await asyncio.sleep(0.05)


async def test_reads_go_to_the_standby_while_the_primary_is_idle(database: Database) -> None:
    await eventually_on_standby(database, wanted=True)
    for _ in range(5):
        assert await on_standby(database)
        await asyncio.sleep(0.7)
    assert database.replica_problem() is None


async def test_a_killed_standby_is_replaced_at_once(
    database: Database, pair: tuple[PostgresServer, PostgresServer]
) -> None:
    _, standby = pair
    # The replica is used only after a check has measured its lag.
    assert database.replica_problem() is not None
    await eventually_on_standby(database, wanted=True)
    standby.kill()
    assert not await on_standby(database)
    assert database.replica_problem() == "The replica does not answer."
    await asyncio.to_thread(standby.start)
    await eventually_on_standby(database, wanted=True)
    assert database.replica_problem() is None


async def test_reads_under_way_leave_a_frozen_standby(
    database: Database, pair: tuple[PostgresServer, PostgresServer]
) -> None:
    _, standby = pair
    await eventually_on_standby(database, wanted=True)
    await asyncio.gather(*(on_standby(database) for _ in range(4)))
    standby.signal_all(signal.SIGSTOP)
    try:
        started = time.monotonic()
        # More reads than connections: some wait for a connection.
        found = await asyncio.gather(*(on_standby(database) for _ in range(12)))
        assert not any(found)
        assert time.monotonic() - started < 5, "the reads waited for the statement timeout"
    finally:
        standby.signal_all(signal.SIGCONT)
    await eventually_on_standby(database, wanted=True)


async def test_a_standby_that_lags_is_not_read(
    database: Database, pair: tuple[PostgresServer, PostgresServer]
) -> None:
    primary, standby = pair
    await eventually_on_standby(database, wanted=True)
    standby.execute("SELECT pg_wal_replay_pause()")
    try:
        primary.execute("CREATE TABLE made_lag (id int)", "trellis")
        await eventually_on_standby(database, wanted=False)
        assert "seconds behind" in (database.replica_problem() or "")
    finally:
        standby.execute("SELECT pg_wal_replay_resume()")
    await eventually_on_standby(database, wanted=True)


async def test_a_standby_that_lags_from_the_start_is_not_read(
    pair: tuple[PostgresServer, PostgresServer],
) -> None:
    primary, standby = pair
    standby.execute("SELECT pg_wal_replay_pause()")
    primary.execute("CREATE TABLE made_more_lag (id int)", "trellis")
    made = Database(primary.url(), replica_url=standby.url(), size=4, timeouts=Timeouts())
    try:
        async with made.maintained():
            for _ in range(4):
                await asyncio.sleep(0.6)
                assert not await on_standby(made)
            standby.execute("SELECT pg_wal_replay_resume()")
            await eventually_on_standby(made, wanted=True)
    finally:
        standby.execute("SELECT pg_wal_replay_resume()")
        await made.close()


async def test_checks_without_the_primary_are_one_a_second(
    pair: tuple[PostgresServer, PostgresServer],
) -> None:
    made = Database(ABSENT, replica_url=pair[1].url(), size=4, timeouts=Timeouts())
    try:
        async with made.maintained():
            # The first second has more of them.
            await asyncio.sleep(1.5)
            with structlog.testing.capture_logs() as logs:
                await asyncio.sleep(2.5)
    finally:
        await made.close()
    checks = [line for line in logs if line["event"] == "primary_not_read"]
    assert 1 <= len(checks) <= 3


async def test_a_changed_column_does_not_suspend_the_replica(
    database: Database, pair: tuple[PostgresServer, PostgresServer]
) -> None:
    primary, _ = pair
    await eventually_on_standby(database, wanted=True)
    primary.execute("CREATE TABLE made_changing (number int)", "trellis")
    numbers = Query(select(column("number")).select_from(table("made_changing")))
    async with asyncio.timeout(10):
        while not database.replica_problem():  # until replayed
            try:
                await database.replica.all(numbers)
                break
            except psycopg.errors.UndefinedTable:
                await asyncio.sleep(0.05)
    for _ in range(8):
        await database.replica.all(numbers)
    primary.execute("ALTER TABLE made_changing ALTER number TYPE text", "trellis")
    for _ in range(30):
        await database.replica.all(numbers)
        assert database.replica_problem() is None
        await asyncio.sleep(0.05)
