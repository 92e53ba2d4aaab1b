"""What a caller may ask in all: the same rules for everybody, counted before each answer."""

import time
from collections.abc import Hashable, Sequence
from dataclasses import replace

from backend.core.limiting.memory import Memory
from backend.core.limiting.rules import Rule, Verdict, refusal, verdict
from backend.db.batches import Batches, Send
from backend.db.limits import Count

MAX_REFUSED = 20_000


class Refusals:
    """Who has been refused for good until their time; the oldest make room for new ones."""

    def __init__(self) -> None:
        self._ends: dict[Hashable, tuple[float, Rule]] = {}

    def __len__(self) -> int:
        return len(self._ends)

    def find(self, key: Hashable) -> Verdict | None:
        """The refusal, if its time is not over."""
        known = self._ends.get(key)
        if known is None:
            return None
        ends, rule = known
        left = ends - time.monotonic()
        if left > 0:
            return refusal(rule, left, final=True)
        del self._ends[key]
        return None

    def remember(self, key: Hashable, refused: Verdict) -> None:
        assert refused.rule is not None
        while len(self._ends) >= MAX_REFUSED:
            del self._ends[next(iter(self._ends))]
        self._ends[key] = time.monotonic() + refused.reset, refused.rule


class Final:
    """Counts at the place that all processes share, of what nobody gives back.

    So a refusal holds until its time is over, whatever happens meanwhile, and is remembered:
    floods of what is refused stay in this process.
    """

    def __init__(self, rules: Sequence[Rule], send: Send[bytes, Count]) -> None:
        self._rules = rules
        self._batches = Batches(send)
        self._refused = Refusals()

    async def take(self, key: bytes) -> Verdict:
        known = self._refused.find(key)
        if known is not None:
            return known
        found = verdict(self._rules, *await self._batches.ask(key))
        if not found.allowed:
            found = replace(found, final=True)
            self._refused.remember(key, found)
        return found


class Quotas:
    """Counts requests: here, or by `send` at the place that all processes share."""

    def __init__(self, rules: Sequence[Rule], place: Memory | Send[bytes, Count]) -> None:
        self.rules = rules
        self.policy = ", ".join(each.policy for each in rules)
        self._memory = place if isinstance(place, Memory) else None
        self._shared = None if isinstance(place, Memory) else Final(rules, place)

    async def take(self, key: bytes) -> Verdict:
        """Count one request, unless it is one too many."""
        if self._shared is not None:
            return await self._shared.take(key)
        assert self._memory is not None
        return verdict(self.rules, self._memory.take(key))
