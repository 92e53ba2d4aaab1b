"""Whether a queue for places is too long, and whether the thread is the bottleneck instead."""

import time
from pathlib import Path

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
