"""The limits of an application, as its settings want them."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from pydantic import SecretStr

from backend.core.limiting.memory import Memory
from backend.core.limiting.quotas import Final, Quotas, Refusals
from backend.core.limiting.rules import Rule, Verdict, parse_rules, verdict
from backend.core.settings import Settings, SettingsError
from backend.db.batches import Batches, Send
from backend.db.limits import Count, Counts
from backend.db.reads import Reads

KEY_BYTES = 16


async def nothing() -> None:
    """Lets go of what holds nothing."""


@dataclass(frozen=True)
class Limits:
    """What the context holds where limits are on."""

    secret: bytes
    quotas: Quotas
    close: Callable[[], Awaitable[None]] = nothing
    # By path and address, where nothing but the address says who is calling.
    refused: Refusals = field(default_factory=Refusals)
    _guesses: Counts = field(default_factory=lambda: Counts("guesses"))
    _guessing: WeakValueDictionary[bytes, Batches[bytes, Count]] = field(
        default_factory=WeakValueDictionary
    )
    _spending: dict[Sequence[Rule], Final] = field(default_factory=dict)

    def key(self, name: str) -> bytes:
        """A name as it is stored: a keyed hash, from which it cannot be read."""
        data = name.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self.secret, digest_size=KEY_BYTES).digest()

    async def guess(self, name: str, rules: Sequence[Rule], reads: Reads) -> Verdict:
        """Count an attempt at what `name` names, durably; it may be given back.

        Those that come at once share a round trip; nobody waits for another name's, whose row a
        transaction may hold.
        """
        key = self.key(name)
        batches = self._guessing.get(key)
        if batches is None:
            batches = self._guessing[key] = Batches(sender(self._guesses, rules, reads))
        return verdict(rules, *await batches.ask(key))

    async def spend(self, name: str, rules: Sequence[Rule], reads: Reads) -> Verdict:
        """Count durably what is never given back."""
        spending = self._spending.get(rules)
        if spending is None:
            spending = Final(rules, sender(self._guesses, rules, reads))
            self._spending[rules] = spending
        return await spending.take(self.key(name))


def sender(counts: Counts, rules: Sequence[Rule], reads: Reads) -> Send[bytes, Count]:
    """Sends a batch to a table of the database."""
    limits, seconds = [each.limit for each in rules], [each.window for each in rules]

    async def take(hits: Mapping[bytes, int]) -> dict[bytes, Count]:
        return await counts.take(reads, hits, limits, seconds)

    return take


def limits_of(settings: Settings, secret: bytes, reads: Reads) -> Limits | None:
    """None where limits are off. Connects to nothing."""
    if not settings.rate_limit_enabled:
        return None
    rules = parse_rules(settings.rate_limit_default)
    if settings.limit_storage == "memory":
        return Limits(secret, Quotas(rules, Memory(rules)))
    if settings.limit_storage == "postgres":
        return Limits(secret, Quotas(rules, sender(Counts("quotas"), rules, reads)))
    from backend.core.limiting.redis import RedisCounts  # noqa: PLC0415  # takes 0.25 s

    assert settings.redis_url is not None
    try:
        shared = RedisCounts(settings.redis_url, rules)
    except (ValueError, TypeError):
        raise SettingsError(
            ["REDIS_URL: must be like redis://user:password@host:6379/0, with known options."]
        ) from None
    return Limits(secret, Quotas(rules, shared.take), shared.close)


def redis_check(url: SecretStr) -> Callable[[object], Awaitable[None]]:
    """A readiness check that raises unless Redis answers at once."""

    async def check(_: object) -> None:
        from backend.core.limiting.redis import ping  # noqa: PLC0415  # takes 0.25 s

        await ping(url)

    return check
