"""Those in a lane go on one by one, and leave the turns between to others."""

import asyncio
from itertools import pairwise

import pytest

from backend.core.lanes import Lane


async def test_one_goes_on_with_each_turn_in_the_order_they_came() -> None:
    lane = Lane()
    went: list[int] = []

    async def go(number: int) -> None:
        await lane.turn()
        went.append(number)

    tasks = [asyncio.create_task(go(number)) for number in range(10)]
    seen = []
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        seen.append(len(went))
    assert went == list(range(10))
    # Between two of them everything else had a turn.
    assert all(after - before <= 1 for before, after in pairwise(seen))


async def test_one_who_gives_up_holds_nobody_up() -> None:
    lane = Lane()
    tasks = [asyncio.create_task(lane.turn()) for _ in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[2].cancel()
    await tasks[3]
    for task in tasks[1:3]:
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.wait_for(lane.turn(), 1)
