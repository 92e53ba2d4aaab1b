"""A pool whose connections are awaited too long is logged, with the setting to change."""

import asyncio
from collections.abc import Iterator

import pytest
import structlog
from structlog.typing import EventDict

from backend.telemetry import database as database_file
from backend.telemetry.database import BusyPoolLog
from tests.applications import make_context
from tests.worker_harness import events_named


@pytest.fixture
def log() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


def test_once_a_minute_and_only_if_the_waits_of_that_minute_are_long(log: list[EventDict]) -> None:
    pool = BusyPoolLog("reads", 10)
    for second in range(300):
        # Short waits are no fault.
        pool.add(0.01, 1, now=second)
    assert log == []
    for number in range(590):
        pool.add(0.25, place=number % 7 + 1, now=300 + number / 10)
    assert [each["event"] for each in log] == ["pool_busy"]
    assert log[0] == {
        "event": "pool_busy",
        "log_level": "warning",
        "pool": "reads",
        "size": 10,
        "waiting": 4,
        "waits": 4,
        "seconds": 1.0,
        "within": 0.55,
        "setting": "DATABASE_POOL_SIZE",
    }
    for number in range(8):
        pool.add(0.25, place=2, now=361 + number / 10)
    assert [each["waiting"] for each in log] == [4, 2]


@pytest.mark.parametrize("pool", ["reads", "transactions"])
async def test_each_pool_is_watched(
    database_url: str, log: list[EventDict], monkeypatch: pytest.MonkeyPatch, pool: str
) -> None:
    monkeypatch.setattr(database_file, "BUSY_SECONDS", 0.02)
    context = make_context(database_url, database_pool_size=2)

    async def hold() -> None:
        async with context.database.pools[pool].place():
            await asyncio.sleep(0.01)

    await asyncio.gather(*(hold() for _ in range(4)))
    await context.close()
    (line,) = events_named(log, "pool_busy")
    assert (line["pool"], line["size"]) == (pool, 1)
    assert 1 <= line["waits"] <= line["waiting"] <= 3
