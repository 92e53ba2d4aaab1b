"""Cached responses to anonymous callers, valid until their tags are dropped.

Each tag has a version in the store: a random value that a drop replaces. A cached response carries
the versions from before it was read, and is used only while they are current. A response that was
read before a change and stored after it is therefore never used. No response is used longer than
`MAX_AGE` seconds after it was read, even if no process hears of the change.

Without Redis, each process has a store of its own, and drops travel as notifications of the
database, sent in the transaction of the change. A process uses its store only while it is connected
for them.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from secrets import token_bytes
from typing import Literal

import orjson
import structlog

from backend.core.background import in_background
from backend.db.connections import Timeouts
from backend.db.notifications import Listener
from backend.db.query_runner import QueryRunner
from backend.db.troubles import database_trouble
from backend.integrations.values import CacheStore, StoreUnavailableError

log = structlog.get_logger()

MAX_AGE = 10  # seconds
# Larger responses are not stored.
MAX_BYTES = 64 * 1024
# A tag is forgotten, and entries of a forgotten tag are not used. Requests for unknown ids create
# tags as well, so a longer time would fill the store.
TAG_SECONDS = 60
CHANNEL = "trellis_cache"
# After a failure, the store is not asked again for this long, and it is logged once a minute.
PAUSE_SECONDS, LOG_SECONDS = 1.0, 60.0
Headers = list[tuple[str, str]]
LookUp = Literal["hit", "miss", "unavailable"]


@dataclass(frozen=True)
class CachedResponse:
    """A response with status 200 to an anonymous request.

    `read_at` is the time before the first read of its data, by the clock of the cache.
    """

    read_at: float
    headers: Headers
    body: bytes

    def to_bytes(self, versions: Sequence[bytes]) -> bytes:
        described = (self.read_at, [each.hex() for each in versions], self.headers)
        return orjson.dumps(described) + b"\n" + self.body


def _from_bytes(stored: bytes) -> tuple[CachedResponse, list[bytes]]:
    described, _, body = stored.partition(b"\n")
    read_at, versions, headers = orjson.loads(described)
    response = CachedResponse(read_at, [(name, value) for name, value in headers], body)
    return response, [bytes.fromhex(each) for each in versions]


Read = Callable[[], Awaitable[tuple[Headers, bytes]]]


class ResponseCache:
    """Responses by key, in a store that `make_store` creates at the first use.

    With `shared`, all processes use the same store, and their clocks must agree; otherwise, the
    cache is used only in the block of `following`.
    """

    def __init__(
        self,
        make_store: Callable[[], CacheStore],
        *,
        shared: bool,
        count: Callable[[LookUp], None] = lambda _: None,
    ) -> None:
        """`count` is called with the outcome of each look-up."""
        self._make_store = make_store
        self._count = count
        self._store: CacheStore | None = None
        self.shared = shared
        self._clock = time.time if shared else time.monotonic
        self._connected = shared
        self._away_until = 0.0
        self._logged_at = -math.inf
        self._reading: dict[Hashable, asyncio.Task[CachedResponse]] = {}

    async def load(self, key: str, tags: Sequence[str], read: Read) -> CachedResponse:
        """Return the cached response of this key, or the one that `read` returns.

        Concurrent calls share one `read`, whose exceptions are raised by all of them.
        """
        try:
            cached, versions = await self._look_up(key, tags)
        except StoreUnavailableError as error:
            self._count("unavailable")
            self._report(error)
            return await self._read(read)
        self._count("miss" if cached is None else "hit")
        if cached is not None:
            return cached
        # After a drop, the versions differ: a new call does not share a read from before it.
        flight = (key, *versions)
        reading = self._reading.get(flight)
        if reading is None:
            # A task of its own, so that the end of one request does not cancel the others.
            reading = asyncio.create_task(self._fill(key, versions, read))
            self._reading[flight] = reading
            reading.add_done_callback(partial(self._forget, flight))
        return await asyncio.shield(reading)

    def age(self, response: CachedResponse) -> float:
        """Return for how many seconds the response may have been out of date."""
        return self._clock() - response.read_at

    async def drop(self, tags: Sequence[str]) -> None:
        """Stop using the responses with one of these tags."""
        if self._connected:
            try:
                self._check_pause()
                await self._opened().set_many(
                    {f"tag:{tag}": token_bytes(8) for tag in tags}, TAG_SECONDS
                )
            except StoreUnavailableError as error:
                # The responses are used until they are too old.
                self._report(error)

    @asynccontextmanager
    async def following(
        self, url: str, primary: QueryRunner, timeouts: Timeouts
    ) -> AsyncIterator[None]:
        """In the block, receive the drops of all processes, and use the cache while connected.

        `url` leads to the server of `primary`, without a transaction pooler.
        """
        listener = Listener(
            url,
            primary,
            CHANNEL,
            timeouts=timeouts,
            on_message=lambda tag: self.drop([tag]),
            on_connected=self._connect,
            on_lost=self._disconnect,
        )
        async with in_background(listener.run()):
            yield

    async def close(self) -> None:
        for reading in list(self._reading.values()):
            reading.cancel()
        if self._reading:
            await asyncio.wait(list(self._reading.values()))
        if self._store is not None:
            await self._store.close()

    async def _connect(self) -> None:
        self._connected = True
        log.info("cache_connected")

    async def _disconnect(self, reason: str, error: BaseException | None) -> None:
        self._warn(reason, error)
        self._connected = False
        if self._store is not None:
            await self._store.close()

    async def _look_up(
        self, key: str, tags: Sequence[str]
    ) -> tuple[CachedResponse | None, list[bytes]]:
        """Return the usable response, and the current versions of the tags."""
        self._check_pause()
        store = self._opened()
        names = (f"response:{key}", *(f"tag:{tag}" for tag in tags))
        found = await store.get_many(*names)
        missing = [name for name, value in zip(names[1:], found[1:], strict=True) if value is None]
        if missing:
            for name in missing:
                # Another process may create it at the same time.
                await store.set(name, token_bytes(8), TAG_SECONDS, exist=False)
            found = await store.get_many(*names)
        versions = [version for version in found[1:] if version is not None]
        if len(versions) < len(tags):
            raise StoreUnavailableError("the store is too small")
        if found[0] is None:
            return None, versions
        response, former = _from_bytes(found[0])
        usable = former == versions and 0 <= self.age(response) < MAX_AGE
        return (response if usable else None), versions

    async def _fill(self, key: str, versions: list[bytes], read: Read) -> CachedResponse:
        response = await self._read(read)
        left = MAX_AGE - self.age(response)
        stored = response.to_bytes(versions)
        if self._connected and left > 0 and len(stored) <= MAX_BYTES:
            try:
                self._check_pause()
                await self._opened().set(f"response:{key}", stored, left)
            except StoreUnavailableError as error:
                self._report(error)
        return response

    async def _read(self, read: Read) -> CachedResponse:
        started = self._clock()
        headers, body = await read()
        return CachedResponse(started, headers, body)

    def _opened(self) -> CacheStore:
        if self._store is None:
            self._store = self._make_store()
        return self._store

    def _check_pause(self) -> None:
        if not self._connected or time.monotonic() < self._away_until:
            raise StoreUnavailableError

    def _report(self, error: StoreUnavailableError) -> None:
        # Without a cause, the store was not asked.
        if error.__cause__ is not None:
            self._away_until = time.monotonic() + PAUSE_SECONDS
            self._warn(f"The store does not answer ({type(error.__cause__).__name__}).")

    def _warn(self, reason: str, error: BaseException | None = None) -> None:
        if time.monotonic() - self._logged_at >= LOG_SECONDS:
            self._logged_at = time.monotonic()
            log.warning("cache_away", reason=reason, **database_trouble(error))

    def _forget(self, flight: Hashable, reading: "asyncio.Task[CachedResponse]") -> None:
        del self._reading[flight]
        if not reading.cancelled():
            # If no request waits for it any more, asyncio would log its exception.
            reading.exception()
