"""Counts in the memory of one process: the reference implementation of the algorithm.

The hits of a key are grouped into buckets of a sixtieth of the window. A bucket counts until its
newest hit has left the window, so no window, wherever it begins, exceeds its limit. The memory of
a key does not depend on its limit, and the allowance of an hour returns minute by minute.
"""

import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence

from backend.ratelimit.postgres import Count
from backend.ratelimit.rules import Rule

BUCKETS = 60
MICROSECONDS = 1_000_000
MAX_KEYS = 20_000


def monotonic() -> int:
    """Return the time of the monotonic clock in microseconds."""
    return time.monotonic_ns() // 1000


class Window:
    """The buckets of a key for one rule: newest time and number of hits of each, and the sum."""

    __slots__ = ("at", "hits", "limit", "microseconds", "used")

    def __init__(self, rule: Rule) -> None:
        self.limit = rule.limit
        self.microseconds = rule.window * MICROSECONDS
        self.at = array("q")
        self.hits = array("q")
        self.used = 0

    def expire(self, now: int) -> None:
        gone = 0
        for moment in self.at:
            if moment > now - self.microseconds:
                break
            self.used -= self.hits[gone]
            gone += 1
        if gone:
            del self.at[:gone], self.hits[:gone]

    def add(self, now: int, hits: int) -> None:
        width = self.microseconds // BUCKETS
        self.used += hits
        if self.at and self.at[-1] // width == now // width:
            self.at[-1] = now
            self.hits[-1] += hits
        else:
            self.at.append(now)
            self.hits.append(hits)

    def wait(self, now: int) -> int:
        """Return the microseconds until the oldest bucket leaves the window."""
        return self.at[0] + self.microseconds - now if self.at else 0


class Memory:
    """Counts of at most `MAX_KEYS` keys; a new key replaces the least recently used one."""

    def __init__(self, rules: Sequence[Rule], clock: Callable[[], int] = monotonic) -> None:
        self._rules = rules
        self._clock = clock
        self._longest = max(rule.window for rule in rules) * MICROSECONDS
        self._keys: OrderedDict[bytes, list[Window]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def hit(self, key: bytes, wanted: int = 1) -> Count:
        """Count as many of the `wanted` hits as all rules allow."""
        now = self._clock()
        windows = self._keys.get(key)
        if windows is None:
            self._make_room(now)
            windows = self._keys[key] = [Window(rule) for rule in self._rules]
        else:
            self._keys.move_to_end(key)
        passed = wanted
        for window in windows:
            window.expire(now)
            passed = min(passed, window.limit - window.used)
        if passed:
            for window in windows:
                window.add(now, passed)
        return Count(
            passed, [window.used for window in windows], [window.wait(now) for window in windows]
        )

    def _make_room(self, now: int) -> None:
        """Remove at most two keys, so that no request waits for a long clean-up."""
        for _ in range(2):
            key, windows = next(iter(self._keys.items()), (b"", None))
            if windows is None:
                return
            newest = max(window.at[-1] if window.at else 0 for window in windows)
            if newest > now - self._longest and len(self._keys) < MAX_KEYS:
                return
            del self._keys[key]
