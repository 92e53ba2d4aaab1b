"""Every committed event is sealed, and no request waits for the sealing."""

import asyncio

import psycopg
import pytest
import structlog
from croniter import croniter  # type: ignore[import-untyped]  # it comes without types

from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.modules.audit import sealing
from backend.modules.audit import service as audit
from backend.modules.audit.manifest import module
from backend.modules.audit.sealing import CHAIN_LOCK, seal_waiting
from tests.modules.audit.conftest import Write, ids, sealed_ids

Log = list[structlog.typing.EventDict]


def waiting(connection: psycopg.Connection) -> int:
    rows: list[tuple[int]] = connection.execute("SELECT count(*) FROM audit_waiting").fetchall()
    return rows[0][0]


async def test_what_is_written_is_sealed_once(
    context: Context, database: psycopg.Connection, write: Write, log: Log
) -> None:
    await seal_waiting(context)
    assert log == []
    first = await write(3)
    await seal_waiting(context)
    second = await write(2)
    await seal_waiting(context)
    await seal_waiting(context)
    assert sealed_ids(database) == first + second
    assert waiting(database) == 0
    rows = database.execute("SELECT number, encode(digest, 'hex') FROM audit_seals ORDER BY 1")
    assert [(line["event"], line["seal"], line["digest"], line["events"]) for line in log] == [
        ("audit_sealed", number, digest, events)
        for (number, digest), events in zip(rows.fetchall(), (3, 2), strict=True)
    ]


async def test_many_events_make_several_seals(
    context: Context, database: psycopg.Connection, write: Write
) -> None:
    await write(2 * sealing.SEAL_SIZE + 1)
    await seal_waiting(context)
    rows = database.execute("SELECT cardinality(event_ids) FROM audit_seals ORDER BY number")
    assert [size for (size,) in rows] == [sealing.SEAL_SIZE, sealing.SEAL_SIZE, 1]
    assert sealed_ids(database) == ids(database)
    assert (await audit.verify(context, SYSTEM)).findings == []


async def test_who_commits_late_is_not_passed_over(
    context: Context, database: psycopg.Connection, write: Write
) -> None:
    async with context.database.transaction() as early:
        await audit.record(early, "test.early")
        late = await write()
        await seal_waiting(context)
        assert sealed_ids(database) == late
    await seal_waiting(context)
    assert sorted(sealed_ids(database)) == ids(database)
    assert len(ids(database)) == 2
    result = await audit.verify(context, SYSTEM)
    assert (result.findings, result.events, result.waiting) == ([], 2, 0)


async def test_nobody_waits_for_a_writer_or_for_the_sealer(
    context: Context, database: psycopg.Connection, write: Write
) -> None:
    async with context.database.transaction() as first:
        # A wait would end in an error after 5 s.
        await audit.record(first, "test.first")
        async with context.database.transaction() as second:
            await audit.record(second, "test.second")
        await seal_waiting(context)
        await write()
    async with context.database.transaction() as session:
        await sealing.append_seal(session, {"key": b"key"})
        assert len(await write()) == 1


async def test_of_two_sealers_one_does_nothing(
    context: Context, database: psycopg.Connection, write: Write
) -> None:
    await write(2)
    with database.transaction():
        database.execute("SELECT pg_advisory_xact_lock(%s)", [CHAIN_LOCK])
        await seal_waiting(context)
        assert sealed_ids(database) == []
    await seal_waiting(context)
    assert len(sealed_ids(database)) == 2


async def test_writers_and_sealers_all_at_once_lose_nothing(
    context: Context, database: psycopg.Connection
) -> None:
    writing = 6

    async def write_some() -> None:
        nonlocal writing
        for number in range(20):
            async with context.database.transaction() as session:
                await audit.record(session, "test.outer")
                await asyncio.sleep(0)
                if number % 5 == 0:
                    await session.connection()
                    await audit.record(session, "test.more")
        writing -= 1

    async def seal() -> None:
        while writing:
            await seal_waiting(context)

    await asyncio.gather(*(write_some() for _ in range(writing)), seal(), seal())
    await seal_waiting(context)
    assert len(ids(database)) == 6 * 24
    assert sorted(sealed_ids(database)) == ids(database)
    numbers = database.execute("SELECT number FROM audit_seals ORDER BY number").fetchall()
    assert [number for (number,) in numbers] == list(range(1, len(numbers) + 1))
    result = await audit.verify(context, SYSTEM)
    assert (result.findings, result.events, result.seals) == ([], 6 * 24, len(numbers))


async def test_a_sealer_that_dies_leaves_all_as_it_was(
    context: Context, database: psycopg.Connection, write: Write
) -> None:
    await write(2)

    async def die() -> None:
        async with context.database.transaction() as session:
            assert await sealing.append_seal(session, {"key": b"key"}) == 2
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await die()
    assert (sealed_ids(database), waiting(database)) == ([], 2)
    await seal_waiting(context)
    assert len(sealed_ids(database)) == 2


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "4000-01-01 BC", "99999-12-31"])
async def test_an_impossible_time_stops_neither_seal_nor_verification(
    context: Context, database: psycopg.Connection, moment: str
) -> None:
    database.execute(
        "WITH event AS (INSERT INTO audit_events (id, occurred_at, action, outcome) VALUES"
        " (gen_random_uuid(), %s, 'test.done', 'success') RETURNING id)"
        " INSERT INTO audit_waiting SELECT id FROM event",
        [moment],
    )
    await seal_waiting(context)
    result = await audit.verify(context, SYSTEM)
    assert (result.findings, result.events) == ([], 1)


def test_the_worker_seals_several_times_a_minute() -> None:
    (seal,) = (job for job in module.jobs if job.name == "audit.seal")
    assert seal.cron is not None
    start = 1_767_225_600.0
    runs = croniter(seal.cron, start)
    assert [runs.get_next(float) - start for _ in range(3)] == [20, 40, 60]
