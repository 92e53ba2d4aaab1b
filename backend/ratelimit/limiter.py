"""The limits of an application, as its settings want them."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from pydantic import SecretStr

from backend.db.coalescer import Coalescer, Send
from backend.db.query_runner import QueryRunner
from backend.ratelimit.memory import Memory
from backend.ratelimit.postgres import Count, PostgresCounts
from backend.ratelimit.quotas import CachedCounter, Quotas, RefusalCache
from backend.ratelimit.rules import LimitResult, Rule, Storage, limit_result

KEY_BYTES = 16


async def nothing() -> None:
    """Lets go of what holds nothing."""


@dataclass(frozen=True)
class RateLimiter:
    """What the context holds where limits are on."""

    secret: bytes
    quotas: Quotas
    close: Callable[[], Awaitable[None]] = nothing
    # By path and address, where nothing but the address says who is calling.
    refused: RefusalCache = field(default_factory=RefusalCache)
    _attempts: PostgresCounts = field(default_factory=lambda: PostgresCounts("guesses"))
    _counting: WeakValueDictionary[bytes, Coalescer[bytes, Count]] = field(
        default_factory=WeakValueDictionary
    )
    _cached: dict[Sequence[Rule], CachedCounter] = field(default_factory=dict)

    def key(self, name: str) -> bytes:
        """A name as it is stored: a keyed hash, from which it cannot be read."""
        data = name.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self.secret, digest_size=KEY_BYTES).digest()

    async def hit(self, name: str, rules: Sequence[Rule], reader: QueryRunner) -> LimitResult:
        """Count an attempt at what `name` names, durably; it may be given back.

        Those that come at once share a round trip; nobody waits for another name's, whose row a
        transaction may hold.
        """
        key = self.key(name)
        coalescer = self._counting.get(key)
        if coalescer is None:
            coalescer = self._counting[key] = Coalescer(
                database_counter(self._attempts, rules, reader)
            )
        return limit_result(rules, *await coalescer.load(key))

    async def hit_cached(
        self, name: str, rules: Sequence[Rule], reader: QueryRunner
    ) -> LimitResult:
        """Count durably what is never given back."""
        counter = self._cached.get(rules)
        if counter is None:
            counter = CachedCounter(rules, database_counter(self._attempts, rules, reader))
            self._cached[rules] = counter
        return await counter.hit(self.key(name))


def database_counter(
    counts: PostgresCounts, rules: Sequence[Rule], reader: QueryRunner
) -> Send[bytes, Count]:
    """Sends a batch to a table of the database."""
    limits, seconds = [each.limit for each in rules], [each.window for each in rules]

    async def hit(hits: Mapping[bytes, int]) -> dict[bytes, Count]:
        return await counts.hit(reader, hits, limits, seconds)

    return hit


def make_limiter(
    storage: Storage,
    rules: Sequence[Rule],
    *,
    secret: bytes,
    reader: QueryRunner,
    redis_url: SecretStr | None = None,
) -> RateLimiter:
    """A limiter that counts requests by `rules` in `storage`. Opens no connection.

    `secret` keys the hashes of stored keys. `ValueError` for a `redis_url` that cannot be used.
    """
    if storage == "memory":
        return RateLimiter(secret, Quotas(rules, Memory(rules)))
    if storage == "postgres":
        return RateLimiter(
            secret, Quotas(rules, database_counter(PostgresCounts("quotas"), rules, reader))
        )
    from backend.ratelimit.redis import RedisCounts  # noqa: PLC0415  # takes 0.25 s

    assert redis_url is not None
    try:
        shared = RedisCounts(redis_url, rules)
    except TypeError as error:
        # An option of the URL that the client does not know.
        raise ValueError(*error.args) from None
    return RateLimiter(secret, Quotas(rules, shared.hit), shared.close)


def redis_check(url: SecretStr) -> Callable[[object], Awaitable[None]]:
    """A readiness check that raises unless Redis answers at once."""

    async def check(_: object) -> None:
        from backend.ratelimit.redis import ping  # noqa: PLC0415  # takes 0.25 s

        await ping(url)

    return check
