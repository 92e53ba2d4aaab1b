"""Temporary values of modules, in PostgreSQL and in Redis."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr

from backend.core.context import Context
from backend.core.errors import ServiceUnavailableError
from backend.core.temporary import MAX_VALUE, TemporaryValues
from tests.applications import make_context
from tests.redis_servers import RedisServer, redis_server

KEYS = [SecretStr(letter * 40) for letter in "abc"]
CODES, LINKS = TemporaryValues("notes.codes"), TemporaryValues("notes.links")


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(params=["postgres", "redis"])
def storage(request: pytest.FixtureRequest) -> SecretStr | None:
    if request.param == "postgres":
        return None
    url: str = request.getfixturevalue("redis").url
    return SecretStr(url)


@pytest.fixture
async def context(database_url: str, storage: SecretStr | None) -> AsyncIterator[Context]:
    made = make_context(database_url, redis_url=storage)
    yield made
    await made.close()


@pytest.fixture
async def other(database_url: str, storage: SecretStr | None) -> AsyncIterator[Context]:
    """The context of another process."""
    made = make_context(database_url, redis_url=storage)
    yield made
    await made.close()


async def test_all_processes_share_the_values(context: Context, other: Context) -> None:
    key = uuid4()
    value = {"code": "ünder", "attempts": [1, None, True]}
    assert await CODES.get(context, key) is None
    await CODES.set(context, key, value, seconds=60)
    assert await CODES.get(other, key) == value
    assert await LINKS.get(other, key) is None
    await CODES.set(other, key, "later", seconds=60)
    assert await CODES.get(context, key) == "later"
    await CODES.delete(context, key)
    await CODES.delete(context, key)
    assert await CODES.get(other, key) is None
    assert await CODES.take(other, key) is None


async def test_a_value_is_taken_once(context: Context, other: Context) -> None:
    key = f"{uuid4()}"
    await CODES.set(context, key, 7, seconds=60)
    contexts = [context, other] * 20
    taken = await asyncio.gather(*(CODES.take(each, key) for each in contexts))
    assert sorted(each for each in taken if each is not None) == [7]


async def test_a_value_expires(context: Context) -> None:
    await CODES.set(context, "a", 1, seconds=0.05)
    await CODES.set(context, "b", 1, seconds=0.05)
    await CODES.set(context, "c", 1, seconds=0.05)
    # A new value has a time of its own.
    await CODES.set(context, "c", 2, seconds=60)
    await asyncio.sleep(0.1)
    assert await CODES.get(context, "a") is None
    assert await CODES.take(context, "b") is None
    assert await CODES.get(context, "c") == 2


async def test_impossible_values_and_keys_are_refused(context: Context) -> None:
    for value, seconds in (("x" * MAX_VALUE, 60), (1, 0), (1, -1)):
        with pytest.raises(ValueError, match="at most 64 KiB"):
            await CODES.set(context, "a", value, seconds=seconds)
    for key in ("x" * 300, "\0"):
        with pytest.raises(ValueError, match="at most 255 characters"):
            await CODES.get(context, key)


async def test_expired_rows_are_removed_by_later_writes(database_url: str) -> None:
    context = make_context(database_url)
    for number in range(6):
        await CODES.set(context, f"{number}", 1, seconds=0.01)
    await asyncio.sleep(0.05)
    for _ in range(4):
        await CODES.set(context, "kept", 1, seconds=60)
    with psycopg.connect(database_url, autocommit=True) as connection:
        keys = connection.execute("SELECT key FROM temporary_values").fetchall()
    assert keys == [("notes.codes:kept",)]
    await context.close()


async def test_installations_that_share_a_redis_are_separate(
    database_url: str, redis: RedisServer
) -> None:
    url = SecretStr(redis.url)
    former, other = [make_context(database_url, redis_url=url, secret_key=key) for key in KEYS[:2]]
    renewed = make_context(
        database_url, redis_url=url, secret_key=KEYS[2], secret_key_previous=KEYS[0]
    )
    redis.command("FLUSHALL")
    await CODES.set(former, "a", 1, seconds=60)
    assert await CODES.get(other, "a") is None
    await CODES.set(other, "a", 2, seconds=60)
    await CODES.delete(other, "a")
    # A new key finds what the former one has stored, and replaces it.
    assert await CODES.get(renewed, "a") == 1
    await CODES.set(renewed, "a", 3, seconds=60)
    assert await CODES.get(former, "a") is None
    assert await CODES.take(renewed, "a") == 3
    for each in (former, other, renewed):
        await each.close()


async def test_a_value_that_somebody_else_has_written_is_absent(
    database_url: str, redis: RedisServer
) -> None:
    context = make_context(database_url, redis_url=SecretStr(redis.url))
    redis.command("FLUSHALL")
    await CODES.set(context, "a", 1, seconds=60)
    await CODES.set(context, "b", 2, seconds=60)
    first, second = sorted(re.findall(r"trellis:temporary:\S+", redis.command("KEYS", "*")))
    assert "+OK" in redis.command("SET", first, "7")
    # The value of one key is not that of another.
    assert ":1" in redis.command("COPY", second, f"{first}b")
    assert await CODES.get(context, "a") is None
    assert await CODES.get(context, "ab") is None
    assert await CODES.take(context, "a") is None
    assert await CODES.take(context, "b") == 2
    await context.close()


@pytest.mark.slow
async def test_without_redis_the_service_is_unavailable(database_url: str) -> None:
    with redis_server() as server:
        context = make_context(database_url, redis_url=SecretStr(server.url))
        await CODES.set(context, "a", 1, seconds=60)
        server.signal(signal.SIGSTOP)
        with pytest.raises(ServiceUnavailableError):
            await CODES.get(context, "a")
        server.signal(signal.SIGCONT)
        assert await CODES.get(context, "a") == 1
        server.kill()
        with pytest.raises(ServiceUnavailableError):
            await CODES.take(context, "a")
        server.start()
        assert await CODES.take(context, "a") is None
        await context.close()
