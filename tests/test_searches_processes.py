"""Expensive searches do not delay other requests of `backend serve`."""

import asyncio
from collections import Counter

import httpx
import psycopg
import pytest

from tests.actors import PASSWORD
from tests.processes import served

pytestmark = pytest.mark.slow

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = [first + second for first in LETTERS for second in LETTERS]
ARTICLES = 5000
FILL = """
INSERT INTO articles (id, title, content, status, author_id, published_at, created_at, updated_at)
SELECT gen_random_uuid(), 'article ' || i, found.content, 'published', author.id, now(),
    now() - i * interval '1 s', now()
FROM generate_series(1, %s) AS i,
LATERAL (
    SELECT string_agg(word, ' ') AS content FROM unnest(%s::text[]) AS each (word)
    WHERE (hashtext(word || i) %% 2) = 0
) AS found,
(SELECT id FROM users LIMIT 1) AS author
"""


async def attack(url: str) -> tuple[list[int], Counter[int]]:
    """Return the statuses of a user's requests and of 45 concurrent searches from one address."""
    async with (
        httpx.AsyncClient(base_url=url, timeout=120) as stranger,
        httpx.AsyncClient(base_url=url, timeout=120) as user,
    ):
        signed_in = await user.post(
            "/api/v1/auth/login", json={"email": "ada@example.com", "password": PASSWORD}
        )
        user.headers["Authorization"] = f"Bearer {signed_in.json()['access_token']}"
        query = {"limit": "1", "fields": "id", "q": " or ".join(WORDS)}
        searches = [
            asyncio.create_task(stranger.get("/api/v1/articles", params=query)) for _ in range(45)
        ]
        own: list[int] = []
        while not all(search.done() for search in searches) or len(own) < 10:
            own.append((await user.get("/api/v1/users/me")).status_code)
            await asyncio.sleep(0.02)
        answers = await asyncio.gather(*searches)
        for answer in answers:
            assert answer.status_code == 200 or int(answer.headers["retry-after"]) > 0
        return own, Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize("size", [4, 20])
def test_one_address_that_searches_holds_nobody_else_up(own_database_url: str, size: int) -> None:
    with served(own_database_url, workers=1, DATABASE_POOL_SIZE=size) as server:
        account = {"email": "ada@example.com", "password": PASSWORD}
        made = httpx.post(f"{server.url}/api/v1/auth/register", json=account, timeout=60)
        assert made.status_code == 201
        with psycopg.connect(own_database_url, autocommit=True) as connection:
            connection.execute(FILL, [ARTICLES, WORDS])
            connection.execute("ANALYZE articles")
        own, searches = asyncio.run(attack(server.url))
    assert set(own) == {200}
    assert searches[200] >= 1
    assert searches.keys() <= {200, 429, 503}
