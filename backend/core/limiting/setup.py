"""The limits of an application, as its settings want them."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from backend.core.limiting.memory import Memory
from backend.core.limiting.quotas import Quotas
from backend.core.limiting.rules import parse_rules
from backend.core.settings import Settings, SettingsError
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
    guesses: Counts = field(default_factory=lambda: Counts("guesses"))

    def key(self, name: str) -> bytes:
        """A name as it is stored: a keyed hash, from which it cannot be read."""
        data = name.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self.secret, digest_size=KEY_BYTES).digest()


def limits_of(settings: Settings, secret: bytes, reads: Reads) -> Limits | None:
    """None where limits are off. Connects to nothing."""
    if not settings.rate_limit_enabled:
        return None
    rules = parse_rules(settings.rate_limit_default)
    if settings.limit_storage == "memory":
        return Limits(secret, Quotas(rules, Memory(rules)))
    if settings.limit_storage == "postgres":
        counts = Counts("quotas")
        limits, seconds = [each.limit for each in rules], [each.window for each in rules]

        async def take(hits: Mapping[bytes, int]) -> dict[bytes, Count]:
            return await counts.take(reads, hits, limits, seconds)

        return Limits(secret, Quotas(rules, take))
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
