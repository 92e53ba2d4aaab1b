"""The stores that the settings select: of cached responses, and of temporary values."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog
from pydantic import SecretStr

from backend.core.response_cache import LookUp, ResponseCache
from backend.core.settings import Settings
from backend.db.connections import Timeouts
from backend.db.database import Database
from backend.db.notifications import UNHEARD
from backend.db.query_runner import QueryRunner
from backend.db.temporary import PostgresTemporary
from backend.integrations.values import CacheStore, TemporaryStore

if TYPE_CHECKING:
    from backend.telemetry.metrics import Metrics

log = structlog.get_logger()


def make_cache(
    settings: Settings, secret: bytes, metrics: "Metrics | None" = None
) -> ResponseCache | None:
    """Return the cache of responses, without connecting; None if it is off."""

    def count(outcome: LookUp) -> None:
        if metrics is not None:
            metrics.cache.labels(outcome).inc()

    if settings.response_storage == "redis":
        assert settings.redis_url is not None
        store = _redis_cache(settings.redis_url, secret)
        return ResponseCache(lambda: store, shared=True, count=count)
    if settings.response_storage == "memory":
        return ResponseCache(_memory_cache, shared=False, count=count)
    return None


def _redis_cache(url: SecretStr, secret: bytes) -> CacheStore:
    from backend.integrations.values.redis import RedisCache  # noqa: PLC0415  # takes 0.25 s

    return RedisCache(url, secret)


def _memory_cache() -> CacheStore:
    from backend.integrations.values.memory import MemoryCache  # noqa: PLC0415  # takes 0.25 s

    return MemoryCache()


def make_temporary(
    settings: Settings, secrets: Sequence[bytes], primary: QueryRunner
) -> TemporaryStore:
    """Return the store of temporary values, without connecting."""
    if settings.redis_url is None:
        return PostgresTemporary(primary)
    from backend.integrations.values.redis import RedisTemporary  # noqa: PLC0415  # takes 0.25 s

    return RedisTemporary(settings.redis_url, secrets)


@asynccontextmanager
async def using_cache(
    cache: ResponseCache | None, settings: Settings, database: Database
) -> AsyncIterator[None]:
    """In the block, responses are cached, unless the cache is off."""
    if cache is None or cache.shared:
        yield
        return
    if settings.database_pooler == "transaction" and settings.database_direct_url is None:
        log.warning("cache_away", reason=UNHEARD)
        yield
        return
    url = settings.session_url
    assert url is not None
    timeouts = Timeouts(statement=settings.database_statement_timeout)
    async with cache.following(url.get_secret_value(), database.primary, timeouts):
        yield
