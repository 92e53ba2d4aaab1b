"""Counts in the memory of one process, and the algorithm in its plainest form.

The hits of a key are kept in buckets: those of one sixtieth of a window share one, which counts
until the newest of them has left the window. So there are never more than a limit allows in any
window, wherever it begins; a key costs the same however high its limit; and an hour's worth of
hits comes back minute by minute.
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
    """Microseconds, of a clock that is never set."""
    return time.monotonic_ns() // 1000


class Window:
    """The buckets of a key for one rule: times of their newest hits, how many, and the sum."""

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
        """Microseconds until its oldest bucket leaves; it is never over its limit."""
        return self.at[0] + self.microseconds - now if self.at else 0


class Memory:
    """As many keys as fit; the one that has been quiet longest makes room for a new one."""

    def __init__(self, rules: Sequence[Rule], clock: Callable[[], int] = monotonic) -> None:
        self._rules = rules
        self._clock = clock
        self._longest = max(rule.window for rule in rules) * MICROSECONDS
        self._keys: OrderedDict[bytes, list[Window]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def hit(self, key: bytes, wanted: int = 1) -> Count:
        """Count as many of `wanted` hits as all rules allow."""
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
        """Forget two keys at most, so that nobody waits for a big clean-up."""
        for _ in range(2):
            key, windows = next(iter(self._keys.items()), (b"", None))
            if windows is None:
                return
            newest = max(window.at[-1] if window.at else 0 for window in windows)
            if newest > now - self._longest and len(self._keys) < MAX_KEYS:
                return
            del self._keys[key]
