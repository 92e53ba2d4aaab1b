"""Reads use the primary at once while the replica is unavailable, frozen or too far behind."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import func, select

from backend.db.connections import Timeouts
from backend.db.database import Database
from backend.db.query_runner import Query
from tests.postgres_servers import PostgresServer, primary_and_standby

pytestmark = pytest.mark.slow

WHERE = Query(select(func.pg_is_in_recovery().label("standby")))
MAX_LAG = 2.0


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
    for _ in range(5):
        assert await on_standby(database)
        await asyncio.sleep(0.7)
    assert database.replica_problem() is None


async def test_a_killed_standby_is_replaced_at_once(
    database: Database, pair: tuple[PostgresServer, PostgresServer]
) -> None:
    _, standby = pair
    assert await on_standby(database)
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
    await asyncio.gather(*(on_standby(database) for _ in range(4)))
    standby.signal_all(signal.SIGSTOP)
    try:
        started = time.monotonic()
        # More than it has connections: some wait for one.
        found = await asyncio.gather(*(on_standby(database) for _ in range(12)))
        assert not any(found)
        assert time.monotonic() - started < 5, "not the timeout of a statement"
    finally:
        standby.signal_all(signal.SIGCONT)
    await eventually_on_standby(database, wanted=True)


async def test_a_standby_that_lags_is_not_read(
    database: Database, pair: tuple[PostgresServer, PostgresServer]
) -> None:
    primary, standby = pair
    standby.execute("SELECT pg_wal_replay_pause()")
    try:
        primary.execute("CREATE TABLE lag (id int)", "trellis")
        await eventually_on_standby(database, wanted=False)
        assert "seconds behind" in (database.replica_problem() or "")
    finally:
        standby.execute("SELECT pg_wal_replay_resume()")
    await eventually_on_standby(database, wanted=True)
