"""Several processes share their counts."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.commands import refusal
from tests.processes import served
from tests.redis_servers import PASSWORD, redis_server

LIMIT, CALLERS, WORKERS = 25, 80, 4
ARTICLES = "/api/v1/articles"


async def call_at_once(url: str) -> Counter[int]:
    """Send `CALLERS` requests at once, each on its own connection; count the status codes."""
    once = httpx.Limits(max_connections=CALLERS, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, limits=once, timeout=60) as client:
        answers = await asyncio.gather(*(client.get(ARTICLES) for _ in range(CALLERS)))
    for answer in answers:
        assert answer.headers["ratelimit-policy"] == f'"hour";q={LIMIT};w=3600'
        assert (answer.status_code == 429) == ("retry-after" in answer.headers)
    return Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize("storage", ["postgres", "redis"])
@pytest.mark.slow
async def test_of_parallel_requests_exactly_so_many_pass(
    own_database_url: str, storage: str
) -> None:
    with redis_server() as redis:
        settings: dict[str, Any] = {
            "RATE_LIMIT_ENABLED": "true",
            "RATE_LIMIT_DEFAULT": f"{LIMIT}/hour",
            "RATE_LIMIT_STORAGE": storage,
            "REDIS_URL": redis.url,
        }
        with served(own_database_url, workers=WORKERS, **settings) as server:
            expected = {200: LIMIT, 429: CALLERS - LIMIT}
            assert await call_at_once(server.url) == expected
            # Refused attempts do not count, and no process has lost its counts.
            assert await call_at_once(server.url) == {429: CALLERS}
            assert PASSWORD not in server.output


@pytest.mark.slow
async def test_by_default_several_processes_share_in_development(own_database_url: str) -> None:
    settings: dict[str, Any] = {"RATE_LIMIT_ENABLED": "true", "RATE_LIMIT_DEFAULT": f"{LIMIT}/hour"}
    with served(own_database_url, **settings) as server:
        assert (await call_at_once(server.url))[200] == LIMIT


@pytest.mark.slow
def test_memory_is_refused_to_several_processes(tmp_path: Path, own_database_url: str) -> None:
    said = refusal(
        *("serve", "--port", "0", "--workers", "2"),
        folder=tmp_path,
        ENVIRONMENT="development",
        DATABASE_URL=own_database_url,
        RATE_LIMIT_STORAGE="memory",
    )
    assert said == (
        "RATE_LIMIT_STORAGE=memory is for one worker, because each would count for itself. "
        "Use postgres or redis, or leave out --workers."
    )
