"""Work beside other work of the same task."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator["asyncio.Task[None]"]:
    """Run `work` in a task of its own during the block, and cancel it at the end.

    The end of the block waits for the task, and raises its error if it has failed.
    """
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        # Not `await task`: with its cancellation suppressed, that of the caller would be, too.
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
