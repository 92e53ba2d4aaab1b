"""Time limits that share a timer end blocks as `asyncio.timeout` does."""

import asyncio

import pytest

from backend.db.time_limits import TimeLimit, TimeLimits
from tests.commands import PATIENCE


async def limited(limits: TimeLimits, seconds: float, work: float = PATIENCE) -> None:
    task = asyncio.current_task()
    assert task is not None
    limit = TimeLimit(limits, task)
    with limit:
        limit.reschedule(task.get_loop().time() + seconds)
        await asyncio.sleep(work)


async def test_each_limit_ends_its_own_block() -> None:
    limits = TimeLimits()
    # The later limits begin first; that of the second block ends before it is due.
    waits = [(0.08, PATIENCE), (PATIENCE, 0.01), (0.02, PATIENCE)]
    ended: list[int] = []

    async def run(number: int) -> bool:
        try:
            await limited(limits, *waits[number])
        except TimeoutError:
            ended.append(number)
            return True
        return False

    assert await asyncio.gather(*map(run, range(3))) == [True, False, True]
    assert ended == [2, 0]
    # Nothing is left, and the timer serves later limits.
    with pytest.raises(TimeoutError):
        await limited(limits, 0.01)


async def test_a_limit_that_is_suspended_does_not_end_the_block() -> None:
    limits, task = TimeLimits(), asyncio.current_task()
    assert task is not None
    limit = TimeLimit(limits, task)
    with limit:
        limit.reschedule(task.get_loop().time() + 0.01)
        limit.reschedule(None)
        await asyncio.sleep(0.05)
    assert not limit.expired()
    assert not task.cancelling()


async def test_a_cancellation_by_others_remains_one() -> None:
    task = asyncio.create_task(limited(TimeLimits(), 0.02))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_limits_outlive_an_event_loop() -> None:
    limits = TimeLimits()

    async def leave_a_timer() -> None:
        await limited(limits, PATIENCE, 0)

    async def expire() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(limited(limits, 0.01), PATIENCE)

    asyncio.run(leave_a_timer())
    asyncio.run(expire())
