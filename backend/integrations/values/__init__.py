"""Values with an expiry: in Redis, in the memory of a process, or in PostgreSQL."""

from collections.abc import Mapping
from typing import Protocol


class StoreUnavailableError(Exception):
    """The store does not respond in time."""


class CacheStore(Protocol):
    """A store that may lose values at any time. Errors are `StoreUnavailableError`."""

    async def get_many(self, *keys: str) -> tuple[bytes | None, ...]:
        """Return the value of each key, or None."""

    async def set(
        self, key: str, value: bytes, expire: float | None = None, exist: bool | None = None
    ) -> bool:
        """Store a value for `expire` seconds; if `exist` is False, only where there is none."""

    async def set_many(self, pairs: Mapping[str, bytes], expire: float | None = None) -> None:
        """Store several values for `expire` seconds."""

    async def close(self) -> None:
        """Discard the values of this process, and close connections."""


class TemporaryStore(Protocol):
    """A store that all processes share. Errors are `StoreUnavailableError`."""

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Store a value that expires after so many seconds, in place of an earlier one."""

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None if it has expired or does not exist."""

    async def take(self, key: str) -> bytes | None:
        """Remove and return the value; of concurrent calls, only one gets it."""

    async def delete(self, key: str) -> None:
        """Remove the value if it exists."""

    async def close(self) -> None:
        """Close connections."""
