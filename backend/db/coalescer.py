"""Request coalescing: concurrent loads share one round trip."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from typing import Generic, TypeVar

from backend.telemetry.tracing import ActiveSpan, active_span

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Send = Callable[[Mapping[K, int]], Awaitable[Mapping[K, V]]]
# After a round trip for several loads, the next one waits this long to collect more of them.
BUSY_PAUSE_SECONDS = 0.002


class Coalescer(Generic[K, V]):
    """Loads values by key; loads that arrive during a round trip share the next one.

    A value is never older than the load that returns it. `send` gets the number of loads of each
    key and returns a value for each key.
    """

    def __init__(self, send: Send[K, V]) -> None:
        self._send = send
        self._waiting: dict[K, list[asyncio.Future[V]]] = {}
        self._sender: asyncio.Task[None] | None = None
        # Of the first load of the next round trip, which the trace of that load contains.
        self._span: ActiveSpan | None = None

    async def load(self, key: K) -> tuple[V, int]:
        """Return the value, and this load's position, from 0, among those that share it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[V] = loop.create_future()
        if not self._waiting:
            self._span = active_span.get()
        futures = self._waiting.setdefault(key, [])
        position = len(futures)
        futures.append(future)
        if self._sender is None:
            # A task of its own, so that cancelling one load does not cancel the others.
            self._sender = loop.create_task(self._send_all())
        return await future, position

    async def _send_all(self) -> None:
        waiting: dict[K, list[asyncio.Future[V]]] = {}
        busy = False
        try:
            while self._waiting:
                if busy:
                    await asyncio.sleep(BUSY_PAUSE_SECONDS)
                waiting, self._waiting = self._waiting, {}
                busy = sum(map(len, waiting.values())) > 1
                active_span.set(self._span)
                counts = {key: len(futures) for key, futures in waiting.items()}
                try:
                    values = await self._send(counts)
                except Exception as error:  # noqa: BLE001  # passed on to the callers of `load`
                    for future in _pending(waiting):
                        future.set_exception(error)
                else:
                    for key, futures in waiting.items():
                        for future in futures:
                            if not future.done():
                                future.set_result(values[key])
        finally:
            self._sender = None
            for future in (*_pending(waiting), *_pending(self._waiting)):
                future.cancel()


def _pending(waiting: Mapping[K, list[asyncio.Future[V]]]) -> Iterator[asyncio.Future[V]]:
    return (future for futures in waiting.values() for future in futures if not future.done())
