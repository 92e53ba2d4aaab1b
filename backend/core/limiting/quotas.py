"""What a caller may ask in all: the same rules for everybody, counted before each answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from backend.core.limiting.memory import Memory
from backend.core.limiting.rules import Rule, Verdict, verdict
from backend.db.limits import Count

Send = Callable[[Mapping[bytes, int]], Awaitable[dict[bytes, Count]]]
Turn = asyncio.Future[Verdict]
# While requests come several at a time, each round trip waits for some more of them.
BUSY_PAUSE_SECONDS = 0.002


class Batches:
    """Attempts that come while a round trip is under way share the next one.

    The more there are, the less each of them costs.
    """

    def __init__(self, rules: Sequence[Rule], send: Send) -> None:
        self._rules = rules
        self._send = send
        self._waiting: dict[bytes, list[Turn]] = {}
        self._sender: asyncio.Task[None] | None = None

    async def take(self, key: bytes) -> Verdict:
        loop = asyncio.get_running_loop()
        turn: Turn = loop.create_future()
        self._waiting.setdefault(key, []).append(turn)
        if self._sender is None:
            # Of its own, so that no request that is given up takes others along.
            self._sender = loop.create_task(self._send_all())
        return await turn

    async def _send_all(self) -> None:
        waiting: dict[bytes, list[Turn]] = {}
        busy = False
        try:
            while self._waiting:
                if busy:
                    await asyncio.sleep(BUSY_PAUSE_SECONDS)
                waiting, self._waiting = self._waiting, {}
                busy = sum(map(len, waiting.values())) > 1
                try:
                    counts = await self._send({key: len(turns) for key, turns in waiting.items()})
                except Exception as error:  # noqa: BLE001  # theirs to handle, whatever it is
                    for turn in _pending(waiting):
                        turn.set_exception(error)
                else:
                    for key, turns in waiting.items():
                        for place, turn in enumerate(turns):
                            if not turn.done():
                                turn.set_result(verdict(self._rules, counts[key], place))
        finally:
            self._sender = None
            for turn in (*_pending(waiting), *_pending(self._waiting)):
                turn.cancel()


def _pending(waiting: Mapping[bytes, list[Turn]]) -> Iterator[Turn]:
    return (turn for turns in waiting.values() for turn in turns if not turn.done())


class Quotas:
    """Counts requests: here, or by `send` at the place that all processes share."""

    def __init__(self, rules: Sequence[Rule], place: Memory | Send) -> None:
        self.rules = rules
        policy = ", ".join(f'"{each.name}";q={each.limit};w={each.window}' for each in rules)
        self.policy = policy.encode()
        self._memory = place if isinstance(place, Memory) else None
        self._batches = None if isinstance(place, Memory) else Batches(rules, place)

    async def take(self, key: bytes) -> Verdict:
        """Count one request, unless it is one too many."""
        if self._batches is not None:
            return await self._batches.take(key)
        assert self._memory is not None
        return verdict(self.rules, self._memory.take(key))
