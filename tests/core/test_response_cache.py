"""The cache of responses: versions of tags, concurrent reads, ages, and stores that fail."""

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from backend.core import response_cache
from backend.core.response_cache import MAX_AGE, MAX_BYTES, Headers, ResponseCache
from backend.integrations.values import CacheStore
from backend.integrations.values.memory import ENTRIES, MemoryCache
from backend.integrations.values.redis import RedisCache
from tests.caches import until
from tests.redis_servers import RedisServer, redis_server

Log = list[structlog.typing.EventDict]
TAGS = ("notes", "notes:1")
SECRET = b"a key of the cache for tests"


class Source:
    """Data that changes, and the number of its reads. A read waits until `released` is set."""

    def __init__(self) -> None:
        self.value = "old"
        self.reads = 0
        self.released = asyncio.Event()
        self.released.set()

    async def read(self) -> tuple[Headers, bytes]:
        self.reads += 1
        found = self.value
        await self.released.wait()
        return [("content-type", "text/plain")], found.encode()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[ResponseCache]:
    shared = request.param == "redis"

    def make_store() -> CacheStore:
        if not shared:
            return MemoryCache()
        server = request.getfixturevalue("redis")
        server.command("FLUSHALL")
        return RedisCache(SecretStr(server.url), SECRET)

    made = ResponseCache(make_store, shared=shared)
    made._connected = True
    # Here, because fixtures cannot be requested in a running event loop.
    made._opened()
    yield made
    await made.close()


async def load(cache: ResponseCache, source: Source, key: str = "/notes") -> str:
    return (await cache.load(key, TAGS, source.read)).body.decode()


@pytest.mark.parametrize("tag", TAGS)
async def test_a_response_is_used_until_one_of_its_tags_is_dropped(
    cache: ResponseCache, source: Source, tag: str
) -> None:
    assert await load(cache, source) == "old"
    source.value = "new"
    await cache.drop(["notes:2"])
    assert await load(cache, source) == "old"
    await cache.drop([tag])
    assert await load(cache, source) == "new"
    assert await load(cache, source) == "new"
    assert source.reads == 2


async def test_headers_and_body_are_kept(cache: ResponseCache, source: Source) -> None:
    source.value = "ünder\nlines"
    first = await cache.load("/notes", TAGS, source.read)
    assert await cache.load("/notes", TAGS, source.read) == first
    assert first.headers == [("content-type", "text/plain")]
    assert source.reads == 1


async def test_concurrent_calls_share_one_read(
    cache: ResponseCache, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up, looked_up = cache._look_up, 0

    async def counted(key: str, tags: Sequence[str]) -> Any:
        nonlocal looked_up
        found = await look_up(key, tags)
        looked_up += 1
        return found

    monkeypatch.setattr(cache, "_look_up", counted)
    await cache.drop(TAGS)
    source.released.clear()
    calls = [asyncio.create_task(load(cache, source)) for _ in range(50)]
    await until(lambda: looked_up == len(calls))
    # The first caller hangs up, which does not end the read.
    calls[0].cancel()
    source.released.set()
    assert await asyncio.gather(*calls[1:]) == ["old"] * 49
    assert source.reads == 1


async def test_what_was_read_before_a_drop_is_not_used_after_it(
    cache: ResponseCache, source: Source
) -> None:
    source.released.clear()
    before = asyncio.create_task(load(cache, source))
    await until(lambda: source.reads)
    source.value = "new"
    await cache.drop(["notes:1"])
    # This call neither shares the read from before, nor uses what it stores.
    after = asyncio.create_task(load(cache, source))
    await until(lambda: source.reads == 2)
    source.released.set()
    assert (await before, await after) == ("old", "new")
    assert await load(cache, source) == "new"


async def test_a_failed_read_is_not_kept(cache: ResponseCache, source: Source) -> None:
    async def fail() -> tuple[Headers, bytes]:
        await asyncio.sleep(0.01)
        raise LookupError

    calls = [cache.load("/notes", TAGS, fail) for _ in range(3)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in results] == [LookupError] * 3
    assert await load(cache, source) == "old"


async def test_the_age_counts_from_the_beginning_of_the_read(
    cache: ResponseCache, source: Source
) -> None:
    now = cache._clock()
    moments = [now]
    cache._clock = lambda: moments[-1]
    await load(cache, source)
    source.value = "new"
    moments.append(now + MAX_AGE - 0.1)
    assert await load(cache, source) == "old"
    moments.append(now + MAX_AGE)
    assert await load(cache, source) == "new"
    # A clock that is set back makes nothing younger.
    source.value = "newer"
    moments.append(now)
    assert await load(cache, source) == "newer"


async def test_a_read_that_takes_too_long_is_not_kept(cache: ResponseCache, source: Source) -> None:
    moments = [cache._clock()]
    cache._clock = lambda: moments[-1]

    async def read() -> tuple[Headers, bytes]:
        moments.append(moments[0] + MAX_AGE)
        return await source.read()

    await cache.load("/notes", TAGS, read)
    moments.append(moments[0])
    await load(cache, source)
    assert source.reads == 2


async def test_large_responses_are_not_kept(cache: ResponseCache, source: Source) -> None:
    source.value = "x" * MAX_BYTES
    for _ in range(2):
        assert len(await load(cache, source)) == MAX_BYTES
    assert source.reads == 2


async def test_the_memory_holds_a_limited_number_of_responses(source: Source) -> None:
    cache = ResponseCache(MemoryCache, shared=False)
    cache._connected = True
    for number in range(2 * ENTRIES):
        await load(cache, source, f"/notes?page={number}")
    store = cache._opened()
    assert isinstance(store, MemoryCache)
    assert len(store._memory.store) == ENTRIES
    # The least recently used ones were discarded, and the versions are in use.
    await load(cache, source, f"/notes?page={2 * ENTRIES - 1}")
    assert source.reads == 2 * ENTRIES
    await cache.close()


async def test_a_value_that_somebody_else_has_written_is_not_used(
    redis: RedisServer, source: Source
) -> None:
    first, second, other = [
        ResponseCache(partial(RedisCache, SecretStr(redis.url), key), shared=True)
        for key in (SECRET, SECRET, b"another installation")
    ]
    redis.command("FLUSHALL")
    await load(first, source)
    await load(second, source)
    assert source.reads == 1
    (name,) = re.findall(r"trellis:cache:\S+:response:/notes", redis.command("KEYS", "*"))
    await load(other, source)
    assert source.reads == 2
    for forged in ("bytes:forged", "7", "sum:7_bytes:forged", r"\x80\x04N."):
        assert "OK" in redis.command("SET", name, f'"{forged}"')
        await load(second, source)
    assert source.reads == 6
    for each in (first, second, other):
        await each.close()


async def test_tags_of_unknown_ids_are_soon_forgotten(redis: RedisServer, source: Source) -> None:
    redis.command("FLUSHALL")
    cache = ResponseCache(partial(RedisCache, SecretStr(redis.url), SECRET), shared=True)
    await load(cache, source)
    names = re.findall(r"trellis:cache:\S+", redis.command("KEYS", "*"))
    left = [int(redis.command("TTL", name).split()[0].strip(":")) for name in names]
    assert len(left) == 1 + len(TAGS)
    assert 0 < max(left) <= 60
    await cache.close()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_without_redis_responses_are_read(source: Source, log: Log, fault: str) -> None:
    with redis_server() as server:
        cache = ResponseCache(lambda: RedisCache(SecretStr(server.url), SECRET), shared=True)
        assert await load(cache, source) == "old"
        if fault == "killed":
            server.kill()
        else:
            server.signal(signal.SIGSTOP)
        started = time.monotonic()
        for number in range(200):
            source.value = f"{number}"
            await cache.drop(TAGS)
            assert await load(cache, source) == f"{number}"
        # Redis is asked once a second.
        assert time.monotonic() - started < 2
        assert [each["event"] for each in log].count("cache_away") == 1
        if fault == "killed":
            server.start()
        else:
            server.signal(signal.SIGCONT)
        await asyncio.sleep(response_cache.PAUSE_SECONDS)
        await cache.drop(TAGS)
        before = source.reads
        for _ in range(5):
            await load(cache, source)
        assert source.reads == before + 1
        assert [each["event"] for each in log].count("cache_away") == 1
        await cache.close()
