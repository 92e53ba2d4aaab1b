"""Applications that cache responses."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from fastapi import FastAPI

from backend.core.context import Context
from backend.core.response_cache import CHANNEL
from backend.core.stores import using_cache
from backend.db.notifications import notify
from backend.integrations.values.memory import MemoryCache
from tests.applications import make_app, make_context

PATIENCE = 20.0  # seconds


async def until(condition: Callable[[], Any]) -> None:
    """Wait until the condition is true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        await asyncio.sleep(0.005)


def is_connected(context: Context) -> bool:
    """Return whether the process of this context uses its cache."""
    assert context.cache is not None
    return context.cache._connected


async def settle(context: Context) -> None:
    """Wait until this process has received all notifications that were sent so far.

    A process drops what it has changed itself, and again when its own notification arrives.
    """
    assert context.cache is not None
    store, tag = context.cache._opened(), f"settled-{uuid4()}"
    assert isinstance(store, MemoryCache)
    async with context.database.transaction() as session:
        await notify(session, CHANNEL, [tag])
    await until(lambda: f"tag:{tag}" in store._memory.store)


@asynccontextmanager
async def caching(url: str, storage: str = "memory", **settings: Any) -> AsyncIterator[Context]:
    """Yield the context of a process whose cache is connected."""
    context = make_context(url, cache_storage=storage, **settings)
    context.state.started = True
    try:
        async with using_cache(context.cache, context.settings, context.database):
            await until(lambda: is_connected(context))
            yield context
    finally:
        await context.close()


@asynccontextmanager
async def caching_app(
    url: str, storage: str = "memory", **settings: Any
) -> AsyncIterator[tuple[FastAPI, Context]]:
    """Yield an application with its own cache, and its context."""
    async with caching(url, storage, **settings) as context:
        yield make_app(context), context
