"""Temporary values of modules: in Redis if REDIS_URL is set, otherwise in PostgreSQL.

    CODES = TemporaryValues("notes.codes")

    await CODES.set(context, user_id, {"code": code}, seconds=300)
    found = await CODES.take(context, user_id)  # of concurrent calls, only one gets it

All processes share the values. A value may get lost when Redis or PostgreSQL restarts; what must
not get lost belongs in a table. Values are never logged. While the store is unavailable, calls
raise `ServiceUnavailableError`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from backend.core.context import Context
from backend.core.errors import ServiceUnavailableError
from backend.integrations.values import StoreUnavailableError

MAX_KEY, MAX_VALUE = 255, 64 * 1024


@dataclass(frozen=True)
class TemporaryValues:
    """JSON values by key. `name` begins with that of the module, and no other use shares it."""

    name: str

    async def set(self, context: Context, key: str | UUID, value: Any, *, seconds: float) -> None:
        """Store a value of at most 64 KiB of JSON, in place of an earlier one."""
        stored = orjson.dumps(value)
        if len(stored) > MAX_VALUE or seconds <= 0:
            raise ValueError("a temporary value has at most 64 KiB, and a time in the future")
        with _reported():
            await context.temporary.set(self._key(key), stored, seconds)

    async def get(self, context: Context, key: str | UUID) -> Any:
        """Return the value, or None if it has expired or does not exist."""
        with _reported():
            return _loaded(await context.temporary.get(self._key(key)))

    async def take(self, context: Context, key: str | UUID) -> Any:
        """Remove and return the value, or None; of concurrent calls, only one gets it."""
        with _reported():
            return _loaded(await context.temporary.take(self._key(key)))

    async def delete(self, context: Context, key: str | UUID) -> None:
        """Remove the value if it exists."""
        with _reported():
            await context.temporary.delete(self._key(key))

    def _key(self, key: str | UUID) -> str:
        found = f"{self.name}:{key}"
        if len(found) > MAX_KEY or "\0" in found:
            raise ValueError(f"a key of a temporary value has at most {MAX_KEY} characters")
        return found


def _loaded(stored: bytes | None) -> Any:
    return None if stored is None else orjson.loads(stored)


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except StoreUnavailableError as error:
        raise ServiceUnavailableError from error
