"""The rate limiter of an application, built from values of its settings."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from weakref import WeakValueDictionary

from pydantic import SecretStr

from backend.db.coalescer import Coalescer, Send
from backend.db.query_runner import QueryRunner
from backend.ratelimit.memory import Memory
from backend.ratelimit.postgres import Count, PostgresCounts
from backend.ratelimit.quotas import CachedCounter, Quotas, RefusalCache
from backend.ratelimit.rules import MAX_LIMIT, LimitResult, Rule, Storage, limit_result

KEY_BYTES = 16
# A page of a list may show an image for each of its 100 rows.
DOWNLOADS_PER_REQUEST = 10


async def close_nothing() -> None:
    """Close a store without connections."""


@dataclass(frozen=True)
class RateLimiter:
    """The quotas of requests and of downloads, and the durable counts of attempts."""

    secret: bytes
    quotas: Quotas
    downloads: Quotas
    close: Callable[[], Awaitable[None]] = close_nothing
    # By path and address, for requests that are identified by their address only.
    refused: RefusalCache = field(default_factory=RefusalCache)
    _attempts: PostgresCounts = field(default_factory=lambda: PostgresCounts("guesses"))
    _counting: WeakValueDictionary[bytes, Coalescer[bytes, Count]] = field(
        default_factory=WeakValueDictionary
    )
    _cached: dict[Sequence[Rule], CachedCounter] = field(default_factory=dict)

    def key(self, name: str) -> bytes:
        """Return the stored form of a name: a keyed hash, which does not reveal the name."""
        data = name.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self.secret, digest_size=KEY_BYTES).digest()

    async def hit(self, name: str, rules: Sequence[Rule], reader: QueryRunner) -> LimitResult:
        """Count an attempt durably; it may be refunded.

        Concurrent attempts of one name share a round trip. Names do not wait for each other,
        because a transaction may hold the row of a name.
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
        """Count durably an action that is never refunded."""
        counter = self._cached.get(rules)
        if counter is None:
            counter = CachedCounter(rules, database_counter(self._attempts, rules, reader))
            self._cached[rules] = counter
        return await counter.hit(self.key(name))


def database_counter(
    counts: PostgresCounts, rules: Sequence[Rule], reader: QueryRunner
) -> Send[bytes, Count]:
    """Return a function that counts a batch of hits in a table of the database."""
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
    """Create a limiter that counts requests by `rules` in `storage`, without connecting.

    Downloads have `DOWNLOADS_PER_REQUEST` times these limits. `secret` keys the hashes of stored
    names. Raise `ValueError` for an unusable `redis_url`.
    """
    generous = [_of_downloads(rule) for rule in rules]
    if storage == "memory":
        return RateLimiter(secret, Quotas(rules, Memory(rules)), Quotas(generous, Memory(generous)))
    if storage == "postgres":
        table = PostgresCounts("quotas")
        counters = [database_counter(table, each, reader) for each in (rules, generous)]
        return RateLimiter(secret, Quotas(rules, counters[0]), Quotas(generous, counters[1]))
    from backend.ratelimit.redis import RedisCounts  # noqa: PLC0415  # import takes 0.25 s

    assert redis_url is not None
    try:
        requests, downloads = (RedisCounts(redis_url, each) for each in (rules, generous))
    except TypeError as error:
        # The client does not know an option of the URL.
        raise ValueError(*error.args) from None

    async def close() -> None:
        await requests.close()
        await downloads.close()

    return RateLimiter(secret, Quotas(rules, requests.hit), Quotas(generous, downloads.hit), close)


def _of_downloads(rule: Rule) -> Rule:
    limit = min(rule.limit * DOWNLOADS_PER_REQUEST, MAX_LIMIT)
    return replace(rule, limit=limit, subject="downloads")


def redis_check(url: SecretStr) -> Callable[[object], Awaitable[None]]:
    """Return a readiness check that raises unless Redis answers in time."""

    async def check(_: object) -> None:
        from backend.ratelimit.redis import ping  # noqa: PLC0415  # takes 0.25 s

        await ping(url)

    return check
