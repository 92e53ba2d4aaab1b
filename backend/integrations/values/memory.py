"""The cache of one process, in its memory.

This module is imported only if a cache is configured: importing its library takes 0.25 s.
"""

from collections.abc import Mapping

from cashews.backends.memory import Memory

ENTRIES = 512


class MemoryCache:
    """A `CacheStore` of at most `ENTRIES` values; the least recently used ones are discarded."""

    def __init__(self) -> None:
        # Without a task that looks for expired values: their number is limited anyway.
        self._memory = Memory(size=ENTRIES, check_interval=0)

    async def get_many(self, *keys: str) -> tuple[bytes | None, ...]:
        return await self._memory.get_many(*keys)

    async def set(
        self, key: str, value: bytes, expire: float | None = None, exist: bool | None = None
    ) -> bool:
        return await self._memory.set(key, value, expire, exist)

    async def set_many(self, pairs: Mapping[str, bytes], expire: float | None = None) -> None:
        await self._memory.set_many(pairs, expire)

    async def close(self) -> None:
        await self._memory.clear()
