"""What a caller may ask in all: the same rules for everybody, counted before each answer."""

import time
from collections.abc import Sequence

from backend.core.limiting.memory import Memory
from backend.core.limiting.rules import Rule, Verdict, refusal, verdict
from backend.db.batches import Batches, Send
from backend.db.limits import Count

MAX_REFUSED = 20_000


class Final:
    """Counts at the place that all processes share, of what nobody gives back.

    So a refusal holds until its time is over, whatever happens meanwhile, and is remembered:
    floods of what is refused stay in this process.
    """

    def __init__(self, rules: Sequence[Rule], send: Send[bytes, Count]) -> None:
        self._rules = rules
        self._batches = Batches(send)
        self._refused: dict[bytes, tuple[float, Rule]] = {}

    async def take(self, key: bytes) -> Verdict:
        known = self._refused.get(key)
        if known is not None:
            ends, rule = known
            left = ends - time.monotonic()
            if left > 0:
                return refusal(rule, left)
            del self._refused[key]
        found = verdict(self._rules, *await self._batches.ask(key))
        if not found.allowed:
            self._remember(key, found)
        return found

    def _remember(self, key: bytes, refused: Verdict) -> None:
        assert refused.rule is not None
        while len(self._refused) >= MAX_REFUSED:
            del self._refused[next(iter(self._refused))]
        self._refused[key] = time.monotonic() + refused.reset, refused.rule


class Quotas:
    """Counts requests: here, or by `send` at the place that all processes share."""

    def __init__(self, rules: Sequence[Rule], place: Memory | Send[bytes, Count]) -> None:
        self.rules = rules
        policy = ", ".join(f'"{each.name}";q={each.limit};w={each.window}' for each in rules)
        self.policy = policy.encode()
        self._memory = place if isinstance(place, Memory) else None
        self._shared = None if isinstance(place, Memory) else Final(rules, place)

    async def take(self, key: bytes) -> Verdict:
        """Count one request, unless it is one too many."""
        if self._shared is not None:
            return await self._shared.take(key)
        assert self._memory is not None
        return verdict(self.rules, self._memory.take(key))
