"""What a caller may ask in all: the same rules for everybody, counted before each answer."""

import time
from collections.abc import Hashable, Sequence

from backend.core.limiting.memory import Memory
from backend.core.limiting.rules import Rule, Verdict, policy_of, refusal, verdict
from backend.db.batches import Batches, Send
from backend.db.limits import Count

MAX_REFUSED = 20_000
# Then it is asked again: what counts may have lost its counts meanwhile.
REMEMBERED_SECONDS = 10


class Refusals:
    """Who has been refused until some time; the oldest make room for new ones."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[float, float, Verdict]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, key: Hashable) -> Verdict | None:
        """The refusal, as it reads now."""
        known = self._known.get(key)
        if known is None:
            return None
        forgotten, ends, refused = known
        now = time.monotonic()
        if now >= forgotten:
            del self._known[key]
            return None
        assert refused.rule is not None
        return refusal(refused.rule, ends - now, refused.policy)

    def remember(self, key: Hashable, refused: Verdict) -> None:
        # Nobody is to wait longer than they have been told.
        if self.find(key) is not None:
            return
        while len(self._known) >= MAX_REFUSED:
            del self._known[next(iter(self._known))]
        now = time.monotonic()
        ends = now + refused.reset
        self._known[key] = min(ends, now + REMEMBERED_SECONDS), ends, refused


class Final:
    """Counts at the place that all processes share, of what nobody gives back.

    So a refusal holds until its time is over, and is remembered: floods of what is refused stay in
    this process.
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
            self._refused.remember(key, found)
        return found


class Quotas:
    """Counts requests: here, or by `send` at the place that all processes share."""

    def __init__(self, rules: Sequence[Rule], place: Memory | Send[bytes, Count]) -> None:
        self.rules = rules
        self.policy = policy_of(rules)
        self._memory = place if isinstance(place, Memory) else None
        self._shared = None if isinstance(place, Memory) else Final(rules, place)

    async def take(self, key: bytes) -> Verdict:
        """Count one request, unless it is one too many."""
        if self._shared is not None:
            return await self._shared.take(key)
        assert self._memory is not None
        return verdict(self.rules, self._memory.take(key))
