"""Work in the background of a block ends with it, and hides no cancellation or error."""

import asyncio

import pytest

from backend.core.background import in_background


async def test_the_work_ends_with_the_block() -> None:
    events: list[str] = []

    async def work() -> None:
        try:
            events.append("begins")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            events.append("ends")

    async with in_background(work()) as task:
        await asyncio.sleep(0)
    assert task.cancelled()
    assert events == ["begins", "ends"]


async def test_the_block_raises_the_error_of_the_work() -> None:
    async def work() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        async with in_background(work()):
            await asyncio.sleep(0)


async def test_the_cancellation_of_the_caller_is_kept_while_the_work_ends() -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await goes_on.wait()

    async def call() -> None:
        async with in_background(work()):
            await asyncio.sleep(0)
        raise AssertionError

    ending, goes_on = asyncio.Event(), asyncio.Event()
    caller = asyncio.create_task(call())
    await ending.wait()
    caller.cancel()
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
