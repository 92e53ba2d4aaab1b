"""The storage quota of a user over items and articles."""

import asyncio
from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID

import psycopg
import pytest
from alembic import command

from backend.core.context import Context
from backend.db.base import uuid7
from backend.db.schema.migrations import alembic_config
from backend.modules.storage_quotas.settings import QuotaSettings
from tests import databases
from tests.actors import Actor
from tests.jobs import run_jobs
from tests.sessions import execute
from tests.statements import Statements

ITEMS, ARTICLES = "/api/v1/items", "/api/v1/articles"
QUOTA = 1024 * 1024
COUNTED = """
SELECT (SELECT coalesce(sum(bytes), 0)::integer FROM stored_bytes) AS counted, (
    SELECT coalesce(sum(size), 0)::integer FROM (
        SELECT octet_length(title) + coalesce(octet_length(description), 0) FROM items
        UNION ALL SELECT octet_length(title) + coalesce(octet_length(content), 0) FROM articles
    ) AS rows (size) WHERE size > 256
) AS stored
"""


@pytest.fixture
async def context(context: Context) -> Context:
    small = QuotaSettings(_env_file=None, storage_quota_per_user=QUOTA)
    return replace(context, module_settings={**context.module_settings, QuotaSettings: small})


async def stored(url: str) -> int:
    """Return the stored bytes of all rows that count; assert that the counters agree."""
    (row,) = await execute(url, COUNTED)
    assert row["counted"] == row["stored"]
    size: int = row["stored"]
    return size


def refused(answer: Any) -> bool:
    if answer.status_code < 300:
        return False
    assert (answer.status_code, answer.json()["error"]) == (422, "STORAGE_QUOTA_EXCEEDED")
    assert "delete or shorten" in answer.json()["detail"]
    return True


async def write(actor: Actor, size: int, title: str = "Tree") -> Any:
    return await actor.post(ARTICLES, json={"title": title, "content": "x" * size})


async def test_items_and_articles_share_a_quota(ada: Actor, bob: Actor, database_url: str) -> None:
    for _ in range(2):
        assert not refused(await write(ada, 480_000))
    before = await stored(database_url)
    assert refused(await write(ada, 100_000))
    for _ in range(8):
        assert not refused(await ada.post(ITEMS, json={"title": "a", "description": "x" * 9_999}))
    item = {"title": "a", "description": "\N{GREEK SMALL LETTER ALPHA}" * 5_000}
    assert refused(await ada.post(ITEMS, json=item))
    assert await stored(database_url) == before + 80_000
    # Each user has a quota, and deleting rows frees space.
    assert not refused(await write(bob, 100_000))
    article = (await ada.get(ARTICLES)).json()["data"][0]
    assert (await ada.delete(f"{ARTICLES}/{article['id']}")).status_code == 204
    assert not refused(await ada.post(ITEMS, json=item))
    assert not refused(await write(ada, 400_000))
    await stored(database_url)


async def test_rows_created_in_bulk_count_each(ada: Actor, database_url: str) -> None:
    rows = [{"title": "a", "description": "x" * 9_999}, {"title": "a", "description": "x"}] * 52
    assert not refused(await ada.post(f"{ITEMS}/bulk", json={"data": rows}))
    before = await stored(database_url)
    assert before == 520_000
    assert refused(await ada.post(f"{ITEMS}/bulk", json={"data": rows[:1] * 53}))
    assert await stored(database_url) == before


async def test_small_rows_in_bulk_are_limited(ada: Actor, bob: Actor) -> None:
    rows = [{"title": "a"}] * 512
    for _ in range(2):
        assert not refused(await ada.post(f"{ITEMS}/bulk", json={"data": rows}))
    assert refused(await ada.post(f"{ITEMS}/bulk", json={"data": rows[:1]}))
    assert not refused(await ada.post(ITEMS, json=rows[0]))
    assert not refused(await bob.post(f"{ITEMS}/bulk", json={"data": rows}))


async def test_stored_responses_are_limited(ada: Actor, bob: Actor, database_url: str) -> None:
    async def repeatable(actor: Actor, key: str, size: int) -> Any:
        made = await actor.post(
            ARTICLES,
            json={"title": "Tea", "content": "x" * size},
            headers={"Idempotency-Key": key},
        )
        if made.status_code == 201:
            assert (await actor.delete(made.headers["location"])).status_code == 204
        return made

    for key in ("a", "b"):
        assert (await repeatable(ada, key, 490_000)).status_code == 201
    answer = await repeatable(ada, "c", 490_000)
    assert (answer.status_code, answer.json()["error"]) == (422, "STORAGE_QUOTA_EXCEEDED")
    assert "wait up to 24 hours" in answer.json()["detail"]
    assert await stored(database_url) == 0
    # Small responses, requests without a key, and other users go on.
    assert (await repeatable(ada, "c", 1_000)).status_code == 201
    assert not refused(await write(ada, 490_000))
    assert (await repeatable(bob, "a", 490_000)).status_code == 201


async def test_changes_count(ada: Actor, admin: Actor, database_url: str) -> None:
    first, second = [f"{ARTICLES}/{(await write(ada, 480_000)).json()['id']}" for _ in "ab"]
    item = (await ada.post(ITEMS, json={"title": "a", "description": "x" * 9_000})).json()
    path = f"{ITEMS}/{item['id']}"
    for _ in range(8):
        await ada.post(ITEMS, json={"title": "a", "description": "x" * 9_900})
    before = await stored(database_url)
    assert before + 3_000 > QUOTA - 2_000
    assert refused(await ada.patch(first, json={"content": "x" * 500_000}))
    # An article counts for its author, even if another user changes it.
    assert refused(await admin.patch(first, json={"content": "x" * 500_000}))
    assert await stored(database_url) == before
    assert not refused(await ada.patch(first, json={"title": "Another"}))
    assert not refused(await ada.patch(second, json={"content": None}))
    assert not refused(await ada.patch(first, json={"content": "x" * 500_000}))
    assert not refused(await ada.patch(path, json={"description": "x" * 10_000}))
    assert await stored(database_url) == before - 480_004 + 20_000 + 3 + 1_000


async def test_those_beyond_the_quota_may_still_shrink(
    ada: Actor, context: Context, database_url: str
) -> None:
    path = f"{ARTICLES}/{(await write(ada, 480_000)).json()['id']}"
    await execute(database_url, "UPDATE stored_bytes SET bytes = bytes + %s", [QUOTA])
    assert refused(await write(ada, 1_000))
    assert refused(await ada.patch(path, json={"content": "x" * 480_001}))
    assert not refused(await ada.patch(path, json={"content": "x" * 479_999}))
    assert not refused(await ada.patch(path, json={"content": "y" * 479_999}))
    assert (await ada.delete(path)).status_code == 204


async def test_small_rows_cost_no_statement(ada: Actor, statements: Statements) -> None:
    statements.clear()
    made = await ada.post(ITEMS, json={"title": "Tea", "description": "x" * 253})
    assert made.status_code == 201
    assert [each.split()[0] for each in statements] == ["SELECT", "INSERT"]
    path = f"{ITEMS}/{made.json()['id']}"
    await ada.patch(path, json={"title": "Two"})
    await ada.delete(path)
    assert not any("stored_bytes" in each for each in statements)
    await ada.post(ITEMS, json={"title": "Tea", "description": "x" * 254})
    assert sum("stored_bytes" in each for each in statements) == 1


async def test_parallel_writes_exceed_it_by_one_row_each(ada: Actor, database_url: str) -> None:
    answers = await asyncio.gather(*(write(ada, 300_000) for _ in range(12)))
    made = sum(not refused(answer) for answer in answers)
    # At most as many writes run at once as the pool has connections.
    assert 3 <= made <= 3 + 5
    assert await stored(database_url) == made * 300_004
    assert refused(await write(ada, 300_000))


@pytest.mark.slow
async def test_what_is_counted_is_what_is_stored(
    ada: Actor, bob: Actor, admin: Actor, context: Context, database_url: str
) -> None:
    random = Random(7)  # noqa: S311  # the same run each time
    rows: list[tuple[Actor, str, str]] = []
    for _ in range(80):
        actor = random.choice([ada, bob])
        text = "\N{GREEK SMALL LETTER ALPHA}" * random.choice([0, 1, 120, 130, 300, 5_000])
        collection, member = random.choice([(ITEMS, "description"), (ARTICLES, "content")])
        if not rows or random.random() < 0.5:
            answer = await actor.post(collection, json={"title": "Tree", member: text or None})
            rows.append((actor, answer.headers["location"], member))
        elif random.random() < 0.7:
            owner, path, member = random.choice(rows)
            writer = random.choice([owner, admin])
            answer = await writer.patch(path, json={"title": text[:255] or "a"})
            answer = await writer.patch(path, json={member: text or None})
            assert answer.status_code == 200
        else:
            owner, path, _ = rows.pop(random.randrange(len(rows)))
            assert (await owner.delete(path)).status_code == 204
        await stored(database_url)
    assert await stored(database_url) > 10_000
    for each in (ada, bob):
        assert (await admin.delete(f"/api/v1/users/{each.id}")).status_code == 204
    await run_jobs(context)
    assert await stored(database_url) == 0


def test_the_migration_counts_what_is_there(pytestconfig: pytest.Config) -> None:
    server = databases.server_url(pytestconfig)
    with databases.cloned_database(server) as url, alembic_config(url) as config:
        command.downgrade(config, "0011")
        users = [uuid7() for _ in range(2)]
        with psycopg.connect(url) as connection:
            for number, user in enumerate(users):
                store_rows(connection, user, number)
        command.upgrade(config, "0012")
        with psycopg.connect(url) as connection:
            rows = connection.execute("SELECT user_id, slot, bytes FROM stored_bytes").fetchall()
    assert rows == [(users[0], 0, 300 + 1_000 + 2)]


def store_rows(connection: psycopg.Connection, user: UUID, number: int) -> None:
    """Insert one large row of each kind for the first user, and small ones for all."""
    connection.execute(
        "INSERT INTO users (id, email, email_key, created_at, updated_at, is_active, is_verified,"
        " sessions_valid_after) VALUES (%s, %s, %s, now(), now(), true, true, now())",
        [user, f"{number}@example.com", f"{number}@example.com"],
    )
    for description in [None, "x" * 255, *(["\N{GREEK SMALL LETTER ALPHA}" * 150] * (not number))]:
        connection.execute(
            "INSERT INTO items (id, title, description, owner_id, created_at, updated_at)"
            " VALUES (%s, 'a', %s, %s, now(), now())",
            [uuid7(), description, user],
        )
    for content in [None, *(["x" * 1_000] * (not number))]:
        connection.execute(
            "INSERT INTO articles (id, title, content, status, author_id, created_at, updated_at)"
            " VALUES (%s, 'a', %s, 'draft', %s, now(), now())",
            [uuid7(), content, user],
        )
