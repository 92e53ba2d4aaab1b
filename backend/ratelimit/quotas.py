"""Quotas: the number of requests of each caller, counted before each response."""

import time
from collections.abc import Coroutine, Hashable, Sequence
from typing import Any

from backend.db.coalescer import Coalescer, Send
from backend.ratelimit.memory import Memory
from backend.ratelimit.postgres import Count
from backend.ratelimit.rules import LimitResult, Rule, limit_result, policy_of, refusal

MAX_REFUSED = 20_000
# A refusal is then looked up again, because the store may have lost its counts.
REMEMBERED_SECONDS = 10


class RefusalCache:
    """Refusals by key with their end; the oldest are removed for new ones."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[float, float, LimitResult]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, key: Hashable) -> LimitResult | None:
        """Return the refusal with the time that is left, or None."""
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

    def remember(self, key: Hashable, refused: LimitResult) -> None:
        # Never extend a wait that Retry-After has announced.
        if self.find(key) is not None:
            return
        while len(self._known) >= MAX_REFUSED:
            del self._known[next(iter(self._known))]
        now = time.monotonic()
        ends = now + refused.reset
        self._known[key] = min(ends, now + REMEMBERED_SECONDS), ends, refused


class CachedCounter:
    """Counts in a store that all processes share, of actions that are never refunded.

    A refusal is therefore valid until its end and is cached: repeated refused requests cost no
    round trip.
    """

    def __init__(self, rules: Sequence[Rule], send: Send[bytes, Count]) -> None:
        self._rules = rules
        self._coalescer = Coalescer(send)
        self._refused = RefusalCache()

    async def hit(self, key: bytes) -> LimitResult:
        known = self._refused.find(key)
        if known is not None:
            return known
        found = limit_result(self._rules, *await self._coalescer.load(key))
        if not found.allowed:
            self._refused.remember(key, found)
        return found


class Quotas:
    """Counts requests in memory, or with `send` in a store that all processes share."""

    def __init__(self, rules: Sequence[Rule], store: Memory | Send[bytes, Count]) -> None:
        self.rules = rules
        self.policy = policy_of(rules)
        self._memory = store if isinstance(store, Memory) else None
        self._shared = None if isinstance(store, Memory) else CachedCounter(rules, store)

    def hit(self, key: bytes) -> Coroutine[Any, Any, LimitResult]:
        """Count one request unless it exceeds a limit."""
        return self._hit_in_memory(key) if self._shared is None else self._shared.hit(key)

    async def _hit_in_memory(self, key: bytes) -> LimitResult:
        assert self._memory is not None
        return limit_result(self.rules, self._memory.hit(key))
