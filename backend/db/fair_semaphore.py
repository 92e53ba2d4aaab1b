"""Fair queues for database connections, which refuse requests at once while they are too long."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Literal

from backend.db.errors import DatabaseUnavailableError, OverloadedError

# The parts of the maximal wait for which requests wait in a burst and, once the queue has existed
# for longer than that wait, in overload.
BURST_PART, OVERLOAD_PART = 0.8, 0.1
# An interval without a free place that is neither a burst nor overload, such as the wait for a
# lock of a migration: longer than this, and than this many times the usual hold of a place.
STALL_SECONDS, STALL_HOLDS = 1.0, 4
# The mean interval is that of the latest `MEAN_ROUNDS` holds of each place.
MEAN_ROUNDS = 8

# Above this share of its time, the thread of the event loop is the bottleneck.
BUSY_SHARE, SAMPLE_SECONDS = 0.85, 0.5
_SCHEDULED = Path("/proc/thread-self/schedstat")

# How often a request goes before new ones. An export reads many pages, and must not hold a place
# all the time.
TURNS = 8
# How often the current request has waited for each semaphore. After the first time it is not
# refused there, and goes before new requests `TURNS` times: refusing it would waste the work that
# is done, and it may hold other places.
admitted: ContextVar[Counter["FairSemaphore"] | None] = ContextVar("admitted", default=None)
# Whether the current task is a health check, which goes before new requests and is not refused.
urgent: ContextVar[bool] = ContextVar("urgent", default=False)


Outcome = Literal["granted", "refused", "timed_out", "cancelled"]
OnWait = Callable[[float, Outcome, int], None]


class Congestion:
    """Decides whether a queue for `size` places is too long, from the times of its grants.

    `wait` is the maximal wait. All times are in seconds, of any monotonic clock.
    """

    def __init__(self, size: int, wait: float) -> None:
        self._size = size
        self._wait = wait
        self._since = self._granted_at = self._interval = 0.0
        self._grants = 0

    def begin(self, now: float) -> None:
        """Note that the queue is no longer empty."""
        self._since = self._granted_at = now
        self._grants, self._interval = 0, 0.0

    def grant(self, now: float) -> None:
        """Note that the first of the queue got a place."""
        interval, self._granted_at = now - self._granted_at, now
        if interval > max(STALL_SECONDS, STALL_HOLDS * self._size * self._interval):
            # It says nothing about the time after it. Until the next grant, all places count as
            # held for as long, so that slow statements are not taken for one stall after another.
            self._since, self._grants, self._interval = now, 0, interval / self._size
            return
        self._grants = min(self._grants + 1, MEAN_ROUNDS * self._size)
        self._interval += (interval - self._interval) / self._grants

    def refuses(self, waiting: int, now: float) -> bool:
        """Return whether one more, behind `waiting` others, would wait too long."""
        if waiting < self._size:
            return False
        if now - self._granted_at > self._wait:
            return True
        if now - self._since > self._wait:
            part = OVERLOAD_PART
        elif self._grants < MEAN_ROUNDS * self._size:
            # The first intervals say little: connections may have been opened in them.
            return False
        else:
            part = BURST_PART
        return waiting * self._interval > part * self._wait


class ThreadUse:
    """Tells whether the current thread has no time left, from samples while requests wait.

    Then refusals free nothing: each takes a good part of the time of a response.
    """

    def __init__(self) -> None:
        self._at = self._busy = 0.0
        self._exhausted = False

    def exhausted(self, now: float) -> bool:
        if (elapsed := now - self._at) > SAMPLE_SECONDS:
            busy = busy_seconds()
            self._exhausted = busy - self._busy > BUSY_SHARE * elapsed
            self._at, self._busy = now, busy
        return self._exhausted


def busy_seconds() -> float:
    """Return for how long this thread has run or, on Linux, waited for a processor."""
    try:
        ran, waited = _SCHEDULED.read_text().split()[:2]
    except (OSError, ValueError):
        return time.thread_time()
    return (int(ran) + int(waited)) / 1e9


class FairSemaphore:
    """A semaphore with `size` places, granted in order of arrival, with a limited wait.

    Requests that have waited here before go first. With `sheds`, a new one is refused at once if
    it is expected to wait too long. `on_wait` is called for each request that found no free place,
    with the seconds that it waited, the outcome, and its place in the queue, from 1.

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
        self._wait = wait
        self._resource = resource
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
        return sum(not waiter.done() for queue in (self._first, self._others) for waiter in queue)

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
        timer = loop.call_later(self._wait, self._time_out, waiter)
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
        if _grant_first(self._first):
            return
        if _grant_first(self._others):
            self._congestion.grant(asyncio.get_running_loop().time())
        else:
            self._free += 1

    def _enter(self, waiter: "asyncio.Future[None]", now: float) -> None:
        """Put `waiter` into a queue, or raise `OverloadedError`."""
        while self._others and self._others[0].done():
            self._others.popleft()
        exhausted = self._thread.exhausted(now)
        waits = admitted.get()
        earlier = 0 if waits is None else waits[self]
        if urgent.get() or 0 < earlier <= TURNS:
            self._first.append(waiter)
        else:
            if not self._others:
                self._congestion.begin(now)
            elif (
                self._sheds
                and not (earlier or exhausted)
                and self._congestion.refuses(len(self._others), now)
            ):
                raise OverloadedError(f"too many requests wait for a {self._resource}")
            self._others.append(waiter)
        if waits is not None:
            waits[self] += 1

    def _leave(self, waiter: "asyncio.Future[None]") -> None:
        """Remove the waiter of a cancelled task, which would count as waiting."""
        for queue in (self._first, self._others):
            with suppress(ValueError):
                queue.remove(waiter)

    def _time_out(self, waiter: "asyncio.Future[None]") -> None:
        if not waiter.done():
            message = f"no {self._resource} was free within {self._wait:g} s"
            waiter.set_exception(DatabaseUnavailableError(message, trouble="pool_exhausted"))

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
