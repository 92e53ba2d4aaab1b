"""Waiting requests are admitted one by one, and other tasks run in between."""

import asyncio
from itertools import pairwise

import pytest

from backend.core.http.admission_queue import WAITING_PER_ADMISSION, AdmissionQueue


async def test_one_is_admitted_per_iteration_in_order_of_arrival() -> None:
    queue = AdmissionQueue()
    went: list[int] = []

    async def go(number: int) -> None:
        await queue.admission()
        went.append(number)

    tasks = [asyncio.create_task(go(number)) for number in range(10)]
    seen = []
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        seen.append(len(went))
    assert went == list(range(10))
    # Other tasks run between two admissions.
    assert all(after - before <= 1 for before, after in pairwise(seen))


async def test_several_of_many_are_admitted_together() -> None:
    queue = AdmissionQueue()
    tasks = [asyncio.create_task(queue.admission()) for _ in range(10 * WAITING_PER_ADMISSION)]
    turns = 0
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        turns += 1
    assert turns < 5 * WAITING_PER_ADMISSION


async def test_a_new_request_is_not_admitted_in_the_iteration_of_another() -> None:
    queue = AdmissionQueue()
    turn, went = 0, []

    async def go() -> None:
        for _ in range(5):
            await queue.admission()
            went.append(turn)

    task = asyncio.create_task(go())
    while not task.done():
        await asyncio.sleep(0)
        turn += 1
    assert len(set(went)) == 5


async def test_a_cancelled_request_does_not_delay_others() -> None:
    queue = AdmissionQueue()
    tasks = [asyncio.create_task(queue.admission()) for _ in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[2].cancel()
    await tasks[3]
    for task in tasks[1:3]:
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.wait_for(queue.admission(), 1)
