"""Values in Redis: of the cache, and temporary ones.

This module is imported only if Redis is configured: importing its libraries takes 0.25 s.
"""

import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from cashews.backends.redis import Redis as CashewsRedis
from cashews.exceptions import CacheBackendInteractionError
from cashews.picklers import PicklerType
from cashews.serialize import get_serializer
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from backend.integrations.values import StoreUnavailableError
from backend.ratelimit.redis import LoopTimeout, new_connection

CACHED, TEMPORARY = "trellis:cache:", "trellis:temporary:"
MAC_BYTES = 16


def _options() -> dict[str, Any]:
    # By default, the client tries three more times, with pauses.
    return {"retry": Retry(NoBackoff(), 0), "driver_info": None}


@asynccontextmanager
async def _responding() -> AsyncIterator[None]:
    """Raise `StoreUnavailableError` if the block fails, or takes longer than 0.1 s."""
    try:
        async with LoopTimeout():
            yield
    except (CacheBackendInteractionError, RedisError, OSError, ValueError) as error:
        raise StoreUnavailableError from error


class RedisCache:
    """A `CacheStore` that all servers share. Each value is signed and bound to its key.

    The signature is our own: cashews verifies by the method that the stored value names, one of
    which is a plain sum of its bytes.
    """

    def __init__(self, url: SecretStr, secret: bytes) -> None:
        self._secret = secret
        self._redis = CashewsRedis(
            url.get_secret_value(),
            # Bytes as they are: by default, cashews stores pickles.
            serializer=get_serializer(pickle_type=PicklerType.NULL, check_repr=False),
            # Errors propagate to here: otherwise, cashews logs a traceback for each.
            suppress=False,
            **_options(),
        )

    async def get_many(self, *keys: str) -> tuple[bytes | None, ...]:
        async with self._connected():
            found = await self._redis.get_many(*(CACHED + key for key in keys))
        return tuple(map(self._verified, keys, found))

    async def set(
        self, key: str, value: bytes, expire: float | None = None, exist: bool | None = None
    ) -> bool:
        async with self._connected():
            return await self._redis.set(CACHED + key, self._signed(key, value), expire, exist)

    async def set_many(self, pairs: Mapping[str, bytes], expire: float | None = None) -> None:
        signed = {CACHED + key: self._signed(key, value) for key, value in pairs.items()}
        async with self._connected():
            await self._redis.set_many(signed, expire)

    async def close(self) -> None:
        if self._redis.is_init:
            # The method of cashews calls one that redis-py has deprecated.
            client = cast(Redis, self._redis._client)  # noqa: SLF001  # see above
            await client.aclose()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        async with _responding():
            if not self._redis.is_init:
                await self._redis.init()  # type: ignore[no-untyped-call]  # cashews leaves it untyped
            yield

    def _mac(self, key: str, value: bytes) -> bytes:
        return hmac.digest(self._secret, f"{key}\n".encode() + value, "sha256")[:MAC_BYTES]

    def _signed(self, key: str, value: bytes) -> bytes:
        return self._mac(key, value) + value

    def _verified(self, key: str, stored: Any) -> bytes | None:
        """Return the value, or None if this installation has not stored it under this key."""
        if not isinstance(stored, bytes):
            return None
        value = stored[MAC_BYTES:]
        return value if hmac.compare_digest(self._mac(key, value), stored[:MAC_BYTES]) else None


class RedisTemporary:
    """A `TemporaryStore` in Redis."""

    def __init__(self, url: SecretStr) -> None:
        try:
            # The client would notice an unknown option at the first use.
            new_connection(url)
        except TypeError as error:
            raise ValueError(*error.args) from None
        self._redis = Redis.from_url(url.get_secret_value(), **_options())

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        async with _responding():
            await self._redis.set(TEMPORARY + key, value, px=max(1, round(seconds * 1000)))

    async def get(self, key: str) -> bytes | None:
        async with _responding():
            found: bytes | None = await self._redis.get(TEMPORARY + key)
        return found

    async def take(self, key: str) -> bytes | None:
        async with _responding():
            found: bytes | None = await self._redis.getdel(TEMPORARY + key)
        return found

    async def delete(self, key: str) -> None:
        async with _responding():
            await self._redis.delete(TEMPORARY + key)

    async def close(self) -> None:
        await self._redis.aclose()
