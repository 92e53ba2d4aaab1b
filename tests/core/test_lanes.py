"""Those in a lane go on one by one, and leave the turns between to others."""

import asyncio
from itertools import pairwise

import pytest

from backend.core.lanes import CROWD, Lane


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


async def test_of_a_crowd_several_go_on_at_once() -> None:
    lane = Lane()
    tasks = [asyncio.create_task(lane.turn()) for _ in range(10 * CROWD)]
    turns = 0
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        turns += 1
    assert turns < 5 * CROWD


async def test_who_comes_when_nobody_waits_does_not_go_in_the_same_turn() -> None:
    lane = Lane()
    turn, went = 0, []

    async def go() -> None:
        for _ in range(5):
            await lane.turn()
            went.append(turn)

    task = asyncio.create_task(go())
    while not task.done():
        await asyncio.sleep(0)
        turn += 1
    assert len(set(went)) == 5


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
