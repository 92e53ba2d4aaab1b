"""Values in Redis: of the cache, and temporary ones.

Several installations may share one Redis: names contain a hash of the installation's key, and each
value is signed and bound to its name. A value that this installation has not stored under its name
counts as absent.

This module is imported only if Redis is configured: importing its libraries takes 0.25 s.
"""

import hmac
from collections.abc import AsyncIterator, Mapping, Sequence
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

MAC_BYTES, INSTALLATION_BYTES = 16, 8


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


class _Signer:
    """Names and signs the values of one kind, with one key of an installation."""

    def __init__(self, kind: str, secret: bytes) -> None:
        self._secret = secret
        installation = hmac.digest(secret, b"installation", "sha256")[:INSTALLATION_BYTES]
        self._prefix = f"trellis:{kind}:{installation.hex()}:"

    def name(self, key: str) -> str:
        return self._prefix + key

    def signed(self, key: str, value: bytes) -> bytes:
        return self._mac(key, value) + value

    def verified(self, key: str, stored: object) -> bytes | None:
        """Return the value, or None if this installation has not stored it under this key."""
        if not isinstance(stored, bytes):
            return None
        value = stored[MAC_BYTES:]
        return value if hmac.compare_digest(self._mac(key, value), stored[:MAC_BYTES]) else None

    def _mac(self, key: str, value: bytes) -> bytes:
        return hmac.digest(self._secret, f"{key}\n".encode() + value, "sha256")[:MAC_BYTES]


class RedisCache:
    """A `CacheStore` that all servers share.

    The signature is our own: cashews verifies by the method that the stored value names, one of
    which is a plain sum of its bytes.
    """

    def __init__(self, url: SecretStr, secret: bytes) -> None:
        self._signer = _Signer("cache", secret)
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
            found = await self._redis.get_many(*map(self._signer.name, keys))
        return tuple(map(self._signer.verified, keys, found))

    async def set(
        self, key: str, value: bytes, expire: float | None = None, exist: bool | None = None
    ) -> bool:
        signed = self._signer.signed(key, value)
        async with self._connected():
            return await self._redis.set(self._signer.name(key), signed, expire, exist)

    async def set_many(self, pairs: Mapping[str, bytes], expire: float | None = None) -> None:
        signer = self._signer
        signed = {signer.name(key): signer.signed(key, value) for key, value in pairs.items()}
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


class RedisTemporary:
    """A `TemporaryStore` in Redis.

    The first of `secrets` signs new values; those that the others have signed are still found.
    """

    def __init__(self, url: SecretStr, secrets: Sequence[bytes]) -> None:
        try:
            # The client would notice an unknown option at the first use.
            new_connection(url)
        except TypeError as error:
            raise ValueError(*error.args) from None
        self._redis = Redis.from_url(url.get_secret_value(), **_options())
        self._signers = [_Signer("temporary", secret) for secret in secrets]

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        first, *others = self._signers
        milliseconds = max(1, round(seconds * 1000))
        async with _responding(), self._redis.pipeline() as commands:
            commands.set(first.name(key), first.signed(key, value), px=milliseconds)
            for signer in others:
                commands.delete(signer.name(key))
            await commands.execute()

    async def get(self, key: str) -> bytes | None:
        async with _responding():
            return self._newest(key, await self._redis.mget(self._names(key)))

    async def take(self, key: str) -> bytes | None:
        async with _responding(), self._redis.pipeline() as commands:
            for name in self._names(key):
                commands.getdel(name)
            return self._newest(key, await commands.execute())

    async def delete(self, key: str) -> None:
        async with _responding():
            await self._redis.delete(*self._names(key))

    async def close(self) -> None:
        await self._redis.aclose()

    def _names(self, key: str) -> list[str]:
        return [signer.name(key) for signer in self._signers]

    def _newest(self, key: str, found: Sequence[object]) -> bytes | None:
        """Return the first value that is valid; `found` has one for each signer."""
        pairs = zip(self._signers, found, strict=True)
        values = (signer.verified(key, stored) for signer, stored in pairs)
        return next((value for value in values if value is not None), None)
