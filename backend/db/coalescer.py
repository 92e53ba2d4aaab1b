"""Questions that several ask at once, answered by one round trip."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Send = Callable[[Mapping[K, int]], Awaitable[Mapping[K, V]]]
# While questions come several at a time, each round trip waits for some more of them.
BUSY_PAUSE_SECONDS = 0.002


class Coalescer(Generic[K, V]):
    """Those who ask while a round trip is under way share the next one.

    The more there are, the less each of them costs; and nobody gets an answer that is older than
    their question. `send` is told how many ask for each key.
    """

    def __init__(self, send: Send[K, V]) -> None:
        self._send = send
        self._waiting: dict[K, list[asyncio.Future[V]]] = {}
        self._sender: asyncio.Task[None] | None = None

    async def load(self, key: K) -> tuple[V, int]:
        """The answer, and which one, from 0, of those who share it this is."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[V] = loop.create_future()
        turns = self._waiting.setdefault(key, [])
        place = len(turns)
        turns.append(turn)
        if self._sender is None:
            # Of its own, so that no request that is given up takes others along.
            self._sender = loop.create_task(self._send_all())
        return await turn, place

    async def _send_all(self) -> None:
        waiting: dict[K, list[asyncio.Future[V]]] = {}
        busy = False
        try:
            while self._waiting:
                if busy:
                    await asyncio.sleep(BUSY_PAUSE_SECONDS)
                waiting, self._waiting = self._waiting, {}
                busy = sum(map(len, waiting.values())) > 1
                try:
                    found = await self._send({key: len(turns) for key, turns in waiting.items()})
                except Exception as error:  # noqa: BLE001  # theirs to handle, whatever it is
                    for turn in _pending(waiting):
                        turn.set_exception(error)
                else:
                    for key, turns in waiting.items():
                        for turn in turns:
                            if not turn.done():
                                turn.set_result(found[key])
        finally:
            self._sender = None
            for turn in (*_pending(waiting), *_pending(self._waiting)):
                turn.cancel()


def _pending(waiting: Mapping[K, list[asyncio.Future[V]]]) -> Iterator[asyncio.Future[V]]:
    return (turn for turns in waiting.values() for turn in turns if not turn.done())
