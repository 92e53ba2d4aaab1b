"""Time limits of requests, like `asyncio.timeout`, with one timer for all of them.

Nearly every limit ends before it is due. `asyncio.timeout` makes a timer for each nevertheless, and
takes two coroutines and as long as a third of all middleware.
"""

import asyncio
from types import TracebackType
from typing import Any


class TimeLimit:
    """A block that is cancelled at the time `when`, and raises `TimeoutError` then.

    `with` it in the task `task`. The time is that of the event loop; None is never.
    """

    __slots__ = ("_cancelling", "_is_expired", "_limits", "task", "when")

    def __init__(self, limits: "TimeLimits", task: "asyncio.Task[Any]") -> None:
        self._limits = limits
        self._is_expired = False
        self.task = task
        self.when: float | None = None

    def expired(self) -> bool:
        """Return whether the block has been cancelled."""
        return self._is_expired

    def reschedule(self, when: float | None) -> None:
        """Set the time, in the block; it must not have expired."""
        self.when = when
        self._limits.note(self)

    def __enter__(self) -> None:
        self._cancelling = self.task.cancelling()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if not self._is_expired:
            self.reschedule(None)
        # As asyncio does: without a cancellation by somebody else, this one ends here.
        elif self.task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        self._is_expired = True
        self.task.cancel()


class TimeLimits:
    """The limits that are not due yet. Their timer is never later than the first of them."""

    def __init__(self) -> None:
        self._running: set[TimeLimit] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def note(self, limit: TimeLimit) -> None:
        """Note that the time of the limit has changed."""
        if limit.when is None:
            self._running.discard(limit)
            return
        self._running.add(limit)
        loop = limit.task.get_loop()
        # An application may outlive an event loop, in tests.
        if self._timer is None or self._loop is not loop or limit.when < self._timer.when():
            self._set_timer(loop, limit.when)

    def _set_timer(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        if self._timer is not None and self._loop is loop:
            self._timer.cancel()
        self._loop = loop
        self._timer = loop.call_at(when, self._expire)

    def _expire(self) -> None:
        """Expire what is due. It runs about once in the length of a limit, not once for each."""
        assert self._loop is not None
        self._timer = None
        now = self._loop.time()
        times = {each: each.when for each in self._running if each.when is not None}
        for limit, when in times.items():
            if when <= now:
                self._running.discard(limit)
                limit.expire()
        later = [when for when in times.values() if when > now]
        if later:
            self._set_timer(self._loop, min(later))
