"""Fair queues for database connections, which refuse requests at once while they are too long."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any, Literal

from backend.db.congestion import Congestion, ThreadUse
from backend.db.errors import DatabaseUnavailableError, OverloadedError

# How often a request goes before new ones. An export reads many pages, and must not hold a place
# all the time.
TURNS = 8
# How often the current request has waited for each semaphore. After the first time it is not
# refused there, and goes before new requests `TURNS` times: refusing it would waste the work that
# is done, and it may hold other places.
admitted: ContextVar[Counter["FairSemaphore"] | None] = ContextVar("admitted", default=None)
# Whether the current task goes before all requests and is not refused: a health check, whose time
# limit is short, or a check in the background. There are few of them, and no request waits long.
urgent: ContextVar[bool] = ContextVar("urgent", default=False)


class _Waits(Counter["FairSemaphore"]):
    """The waits of a task that no queue refuses: at least `least` for each semaphore."""

    def __init__(self, least: int) -> None:
        super().__init__()
        self._least = least

    def __missing__(self, semaphore: "FairSemaphore") -> int:
        return self._least


def wait_in_turn(*, goes_first: bool) -> None:
    """Let the current task, which works for several requests, wait unrefused.

    `goes_first` if `refuse_if_overloaded` has returned it for one of them.
    """
    urgent.set(False)
    admitted.set(_Waits(1 if goes_first else TURNS + 1))


Outcome = Literal["granted", "refused", "timed_out", "cancelled"]
OnWait = Callable[[float, Outcome, int], None]


class FairSemaphore:
    """A semaphore with `size` places, granted in order of arrival, with a limited wait.

    Urgent tasks go first, then requests that have waited here before. With `sheds`, a new one is
    refused at once if it is expected to wait too long. `on_wait` is called for each request that
    found no free place, with the seconds that it waited, the outcome, and its place in the queue,
    from 1.

    SQLAlchemy's pool queue is not fair: with 32 clients on 10 connections, some wait for more
    than a second while others are served repeatedly.
    """

    def __init__(
        self,
        size: int,
        wait: float,
        resource: str = "database connection",
        *,
        sheds: bool = True,
        on_wait: OnWait | None = None,
    ) -> None:
        self.size = self._free = size
        self.wait = wait
        self._resource = resource
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._first: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()
        self._sheds = sheds
        self._on_wait = on_wait
        self._congestion = Congestion(size, wait)
        self._thread = ThreadUse()

    @property
    def in_use(self) -> int:
        return self.size - self._free

    @property
    def waiting(self) -> int:
        queues = (self._urgent, self._first, self._others)
        return sum(not waiter.done() for queue in queues for waiter in queue)

    async def acquire(self) -> None:
        """Wait for a place; raise `DatabaseUnavailableError` if none is free in time."""
        if self._free:
            self._free -= 1
            return
        if self._on_wait is None:
            await self._wait_for_place()
            return
        started = time.monotonic()
        # Cheaper than `waiting`, and at most a few that have given up more.
        place = len(self._first) + len(self._others) + 1
        outcome: Outcome = "cancelled"
        try:
            await self._wait_for_place()
            outcome = "granted"
        except OverloadedError:
            outcome = "refused"
            raise
        except DatabaseUnavailableError:
            outcome = "timed_out"
            raise
        finally:
            self._on_wait(time.monotonic() - started, outcome, place)

    async def _wait_for_place(self) -> None:
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._enter(waiter, loop.time())
        # A plain timer costs a third of `asyncio.timeout`.
        timer = loop.call_later(self.wait, self._time_out, waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._leave(waiter)
            elif waiter.exception() is None:
                # The place was granted, but this task was cancelled before it resumed.
                self.release()
            raise
        finally:
            timer.cancel()

    def release(self) -> None:
        if _grant_first(self._urgent) or _grant_first(self._first):
            return
        if _grant_first(self._others):
            self._congestion.grant(asyncio.get_running_loop().time())
        else:
            self._free += 1

    def refuse_if_overloaded(self, *, is_too_long: bool = False) -> bool:
        """Return whether the current request goes before new ones; take no place.

        Raise `OverloadedError` if it would be refused. For a request whose statement another task
        sends, after `wait_in_turn`; `is_too_long` if the queue for that statement is.
        """
        waits = admitted.get()
        # Most requests have not waited anywhere.
        earlier = waits[self] if waits else 0
        is_urgent = urgent.get()
        if is_too_long or not self._free:
            if not is_urgent:
                try:
                    self._refuse_if_too_long(
                        earlier, asyncio.get_running_loop().time(), is_too_long
                    )
                except OverloadedError:
                    self._note_wait(0, "refused")
                    raise
            if waits is not None:
                waits[self] += 1
        return is_urgent or 0 < earlier <= TURNS

    def time_out(self, waiter: "asyncio.Future[Any]") -> None:
        """Let a request that waits for a statement of another task fail; `waiter` is not done."""
        self._note_wait(self.wait, "timed_out")
        waiter.set_exception(self._timed_out())

    def _note_wait(self, seconds: float, outcome: Outcome) -> None:
        if self._on_wait is not None:
            self._on_wait(seconds, outcome, len(self._first) + len(self._others) + 1)

    def _timed_out(self) -> DatabaseUnavailableError:
        message = f"no {self._resource} was free within {self.wait:g} s"
        return DatabaseUnavailableError(message, trouble="pool_exhausted")

    def _enter(self, waiter: "asyncio.Future[None]", now: float) -> None:
        """Put `waiter` into a queue, or raise `OverloadedError`."""
        waits = admitted.get()
        earlier = 0 if waits is None else waits[self]
        if urgent.get():
            self._urgent.append(waiter)
        elif 0 < earlier <= TURNS:
            self._first.append(waiter)
        else:
            self._refuse_if_too_long(earlier, now)
            if not self._others:
                self._congestion.begin(now)
            self._others.append(waiter)
        if waits is not None:
            waits[self] += 1

    def _refuse_if_too_long(self, earlier: int, now: float, is_too_long: bool = False) -> None:
        """Raise `OverloadedError` if a request that waited `earlier` times is one too many."""
        while self._others and self._others[0].done():
            self._others.popleft()
        exhausted = self._thread.exhausted(now)
        if not self._sheds or earlier or exhausted:
            return
        if is_too_long or (self._others and self._congestion.refuses(len(self._others), now)):
            raise OverloadedError(f"too many requests wait for a {self._resource}")

    def _leave(self, waiter: "asyncio.Future[None]") -> None:
        """Remove the waiter of a cancelled task, which would count as waiting."""
        for queue in (self._urgent, self._first, self._others):
            with suppress(ValueError):
                queue.remove(waiter)

    def _time_out(self, waiter: "asyncio.Future[None]") -> None:
        if not waiter.done():
            waiter.set_exception(self._timed_out())

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        await self.acquire()
        try:
            yield
        finally:
            self.release()


def _grant_first(queue: "deque[asyncio.Future[None]]") -> bool:
    """Grant a place to the first that still waits; return False if nobody does."""
    while queue:
        waiter = queue.popleft()
        if not waiter.done():
            waiter.set_result(None)
            return True
    return False
