"""Counts in Redis, also while it is unavailable."""

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address
from typing import Any

import pytest
import structlog
from fastapi import FastAPI
from pydantic import SecretStr

from backend.core.context import Context
from backend.core.settings import SettingsError
from backend.ratelimit import redis as limiting
from tests.actors import Client
from tests.applications import make_context
from tests.redis_servers import PASSWORD, RedisServer, redis_server

ARTICLES = "/api/v1/articles"
Log = list[structlog.typing.EventDict]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
async def limited(app: FastAPI, database_url: str, redis: RedisServer) -> AsyncIterator[Context]:
    made = make_context(
        database_url,
        rate_limit_enabled=True,
        rate_limit_default="3/minute",
        redis_url=SecretStr(redis.url),
    )
    made.state.started = True
    app.state.context = made
    yield made
    await made.close()


async def statuses(client: Client, times: int) -> list[int]:
    return [(await client.get(ARTICLES)).status_code for _ in range(times)]


async def redis_check(client: Client) -> str:
    """Return the status of Redis in /health/ready, which is 200 in any case."""
    answer = await client.get("/health/ready")
    assert answer.status_code == 200
    status: str = answer.json()["checks"]["redis"]["status"]
    return status


def event_names(log: Log) -> list[str]:
    assert PASSWORD not in str(log)
    return [each["event"] for each in log if each["event"].startswith("redis_")]


async def until_back(app: FastAPI, log: Log) -> None:
    """Send requests until one is counted in Redis, from new addresses: refused ones skip Redis."""
    async with asyncio.timeout(20):
        for number in itertools.count(1):
            async with Client(app, address=str(ip_address(number))) as somebody:
                assert (await somebody.get(ARTICLES)).status_code == 200
            if event_names(log)[-1] == "redis_back":
                return
            await asyncio.sleep(0.02)


async def test_counts_are_shared(
    limited: Context, client: Client, redis: RedisServer, app: FastAPI, database_url: str
) -> None:
    assert await statuses(client, 2) == [200, 200]
    other = make_context(
        database_url,
        rate_limit_enabled=True,
        rate_limit_default="3/minute",
        redis_url=SecretStr(redis.url),
    )
    other.state.started = True
    app.state.context = other
    assert await statuses(client, 2) == [200, 429]
    assert await redis_check(client) == "ok"
    keys = redis.command("KEYS", "*")
    assert "trellis:limits:" in keys
    assert "127.0.0.1" not in keys
    await other.close()


@pytest.mark.slow
async def test_redis_may_be_killed_and_started_again(
    limited: Context, client: Client, app: FastAPI, redis: RedisServer, log: Log
) -> None:
    assert await statuses(client, 4) == [200, 200, 200, 429]
    redis.kill()
    # A refused client stays refused; for others this process counts its own requests.
    assert await statuses(client, 1) == [429]
    async with Client(app, address="192.0.2.7") as other:
        assert await statuses(other, 5) == [200, 200, 200, 429, 429]
    assert await redis_check(client) == "degraded"
    assert event_names(log) == ["redis_away"]
    redis.start()
    await until_back(app, log)
    assert event_names(log) == ["redis_away", "redis_back"]
    assert await redis_check(client) == "ok"
    async with Client(app, address="192.0.2.8") as other:
        assert await statuses(other, 4) == [200, 200, 200, 429]


async def test_a_restart_between_two_requests_is_not_noticed(
    limited: Context, client: Client, redis: RedisServer, log: Log
) -> None:
    assert await statuses(client, 1) == [200]
    redis.kill()
    redis.start()
    assert await statuses(client, 4) == [200, 200, 200, 429]
    assert event_names(log) == []


async def test_redis_may_come_late(
    redis: RedisServer, limited: Context, client: Client, app: FastAPI, log: Log
) -> None:
    redis.kill()
    assert await statuses(client, 4) == [200, 200, 200, 429]
    redis.start()
    await until_back(app, log)
    assert event_names(log) == ["redis_away", "redis_back"]


@pytest.mark.slow
async def test_redis_may_hang(
    redis: RedisServer, limited: Context, client: Client, app: FastAPI, log: Log
) -> None:
    assert await statuses(client, 1) == [200]
    redis.signal(signal.SIGSTOP)
    # Some requests wait for Redis together, and some come later.
    answers = await asyncio.gather(*(client.get(ARTICLES) for _ in range(10)))
    assert sorted(each.status_code for each in answers) == [200] * 3 + [429] * 7
    assert await redis_check(client) == "degraded"
    redis.signal(signal.SIGCONT)
    await until_back(app, log)
    assert event_names(log) == ["redis_away", "redis_back"]


async def test_a_redis_that_refuses_is_one_that_is_away(
    redis: RedisServer, limited: Context, client: Client, log: Log
) -> None:
    redis.command("CONFIG", "SET", "requirepass", "another")
    assert await statuses(client, 4) == [200, 200, 200, 429]
    (event,) = (each for each in log if each["event"] == "redis_away")
    assert event["log_level"] == "warning"
    assert event["reason"] == "AuthenticationError"


async def test_one_who_gives_up_takes_nobody_along(
    redis: RedisServer, limited: Context, log: Log
) -> None:
    assert limited.limits is not None
    quotas, key = limited.limits.quotas, b"somebody"
    impatient = asyncio.create_task(quotas.hit(key))
    patient = asyncio.create_task(quotas.hit(key))
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).allowed
    with pytest.raises(asyncio.CancelledError):
        await impatient


@pytest.mark.parametrize("url", ["redis://h:1/0?nonsense=1", "redis://h/0?socket_timeout=x"])
def test_an_address_that_is_none_is_told_at_the_start(url: str, database_url: str) -> None:
    with pytest.raises(SettingsError, match="REDIS_URL") as refused:
        make_context(database_url, rate_limit_enabled=True, redis_url=SecretStr(url))
    assert "nonsense" not in str(refused.value)


@pytest.mark.parametrize("url", ["rediss://:p@h:1/0", "unix:///nowhere/redis.sock?db=0"])
def test_other_ways_to_a_redis(url: str) -> None:
    made: Any = limiting.new_connection(SecretStr(url))
    assert not made.is_connected


async def test_nothing_is_imported_or_checked_without_a_redis(database_url: str) -> None:
    context = make_context(database_url, rate_limit_enabled=True)
    assert "redis" not in context.checks
    await context.close()
