"""Reads by key: concurrent callers share statements.

A statement that reads for ten callers costs the process hardly more than one for a single caller.
Nobody waits for others to ask: a statement is sent as soon as the event loop has run what was due
already, and contains the keys that were asked for until then.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from contextvars import Context, copy_context
from itertools import islice
from typing import Any, Generic, TypeVar

from backend.db.congestion import Congestion
from backend.db.fair_semaphore import FairSemaphore, wait_in_turn

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
# Statements of one query that run at the same time; callers that ask meanwhile share the next one.
STATEMENTS = 2
# A shared statement that takes longer no longer counts, so that a connection that hangs does not
# stop all others. Until a statement succeeds, the next ones are for one key each, while there are
# free connections: should they hang as well, few callers hang with them.
SLOW_SECONDS = 1.0
MAX_KEYS = 100
# Callers behind more statements than this wait for a limited time. Without a limit, fewer take 3 s:
# two at a time, each within SLOW_SECONDS.
MAX_STATEMENTS_AHEAD = 5


class KeyedReads(Generic[K, V]):
    """The reads of one query. `read` returns the results of the given keys that have one.

    A result is read after its caller has asked for it. Callers that asked for the same key get the
    same object. `gate` is the queue in which `read` waits for a connection: it decides for each
    caller whether the process is overloaded, so that no caller is refused because of another one.
    New callers are also refused while those that wait for a statement would wait too long, from the
    times of the latest ones, as in `gate`. While statements are slow, or many are ahead, a caller
    waits for one as long as for a place in `gate`.
    """

    def __init__(
        self,
        read: Callable[[list[K]], Awaitable[Mapping[K, V]]],
        gate: FairSemaphore,
        max_keys: int = MAX_KEYS,
    ) -> None:
        """`max_keys` limits the keys of one statement."""
        self._read = read
        self._gate = gate
        self._max_keys = max_keys
        self._congestion = Congestion(STATEMENTS, gate.wait)
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        # The keys among them for which a caller goes before new requests.
        self._first: set[K] = set()
        # Since when statements have been slow, without one that succeeded.
        self._stalled_at: float | None = None
        # Of the first caller that waits: its trace contains the statement.
        self._context = Context()
        self._is_due = False
        # Whether the latest statement was for several callers.
        self._is_shared = False
        # A statement is known by its task, or by the key if its caller sends it.
        self._running: set[asyncio.Task[None] | K] = set()

    async def find(self, key: K) -> V | None:
        """Return the result of this key, or None. A key that is invalid fails for all callers."""
        if not (self._is_shared or self._running or self._stalled_at):
            return await self._find_alone(key)
        goes_first = self._gate.refuse_if_overloaded(is_too_long=self._is_too_long())
        loop = asyncio.get_running_loop()
        future: asyncio.Future[V | None] = loop.create_future()
        if not self._waiting:
            self._context = copy_context()
            self._congestion.begin(loop.time())
        self._waiting.setdefault(key, []).append(future)
        if goes_first:
            self._first.add(key)
        if self._stalled_at or len(self._waiting) > MAX_STATEMENTS_AHEAD * self._max_keys:
            self._limit_wait(key, future)
        self._start()
        try:
            return await future
        except asyncio.CancelledError:
            self._forget(key, future)
            raise

    def _is_too_long(self) -> bool:
        """Return whether new callers would wait for too long."""
        if not self._waiting:
            return False
        now = asyncio.get_running_loop().time()
        if self._stalled_at and now - self._stalled_at > self._gate.wait:
            return True
        return self._congestion.refuses(len(self._waiting) // self._max_keys, now)

    def _limit_wait(
        self, key: K, future: asyncio.Future[V | None], context: Context | None = None
    ) -> None:
        asyncio.get_running_loop().call_later(
            self._gate.wait, self._time_out, key, future, context=context
        )

    def _time_out(self, key: K, future: asyncio.Future[V | None]) -> None:
        if self._forget(key, future) and not future.done():
            self._gate.time_out(future)

    def _forget(self, key: K, future: asyncio.Future[V | None]) -> bool:
        """Remove a caller from those that wait; return False if its statement was sent."""
        futures = self._waiting.get(key, [])
        if future not in futures:
            return False
        futures.remove(future)
        if not futures:
            del self._waiting[key]
            self._first.discard(key)
        return True

    async def _find_alone(self, key: K) -> V | None:
        """Send a statement for this caller alone, which saves a task."""
        self._running.add(key)
        try:
            found = await self._read([key])
            self._stalled_at = None
        finally:
            self._end(key)
        return found.get(key)

    def _start(self) -> None:
        """Start a statement for the callers that wait, unless enough of them run."""
        if self._is_due or not self._waiting or len(self._running) >= STATEMENTS:
            return
        self._is_due = True
        # A task of its own, so that cancelling one caller does not cancel the others.
        self._running.add(
            asyncio.get_running_loop().create_task(self._send(), context=self._context)
        )

    def _end(self, statement: "asyncio.Task[None] | K") -> None:
        self._running.discard(statement)
        self._start()

    def _stall(self, statement: "asyncio.Task[None]") -> None:
        """Note that this statement is slow, and limit the wait of the callers that it delays."""
        if not self._stalled_at:
            self._stalled_at = asyncio.get_running_loop().time()
            for key, futures in self._waiting.items():
                for future in futures:
                    # Not in the trace of this statement's first caller.
                    self._limit_wait(key, future, Context())
        self._end(statement)

    def _take(self) -> dict[K, list[asyncio.Future[V | None]]]:
        """Remove the callers of the next statement from those that wait; prepare its wait."""
        self._is_due = False
        self._congestion.grant(asyncio.get_running_loop().time())
        # Without a free place, statements are slow because they wait for one, and hang nobody.
        has_place = self._gate.in_use < self._gate.size
        most = 1 if self._stalled_at and has_place else self._max_keys
        if len(self._waiting) <= most:
            taken, self._waiting = self._waiting, {}
        else:
            keys = list(islice(self._waiting, most))
            taken = {key: self._waiting.pop(key) for key in keys}
        goes_first = bool(self._first) and not self._first.isdisjoint(taken)
        if goes_first:
            self._first.difference_update(taken)
        wait_in_turn(goes_first=goes_first)
        self._start()
        return taken

    async def _send(self) -> None:
        callers = self._take()
        self._is_shared = sum(map(len, callers.values())) > 1
        task = asyncio.current_task()
        assert task is not None
        if not callers:
            self._end(task)
            return
        slow = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._stall, task)
        try:
            found = await self._read(list(callers))
            self._stalled_at = None
            for key, futures in callers.items():
                for future in futures:
                    if not future.done():
                        future.set_result(found.get(key))
        except Exception as error:  # noqa: BLE001  # passed on to the callers
            for future in _pending(callers):
                future.set_exception(error)
        finally:
            slow.cancel()
            self._end(task)
            for future in _pending(callers):
                future.cancel()


def _pending(callers: Mapping[Any, list[asyncio.Future[V]]]) -> Iterator[asyncio.Future[V]]:
    return (future for futures in callers.values() for future in futures if not future.done())
