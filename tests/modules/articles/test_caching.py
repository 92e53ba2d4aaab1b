"""Cached articles: who gets them, for how long, and what drops them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from backend.core.context import Context
from backend.core.response_cache import MAX_AGE, MAX_BYTES
from backend.core.stores import using_cache
from backend.db import notifications
from backend.db.notifications import UNHEARD
from backend.db.replica import ReplicaRunner
from tests import databases
from tests.actors import Actor, ActorFactory, Client
from tests.applications import make_app, make_context
from tests.caches import PATIENCE, caching, caching_app, is_connected, settle, until
from tests.poolers import pooler
from tests.redis_servers import redis_server
from tests.statements import Statements

ARTICLES = "/api/v1/articles"
TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'trellis listener' AND datname = current_database()
"""


@pytest.fixture
async def context(database_url: str) -> AsyncIterator[Context]:
    async with caching(database_url) as made:
        yield made


async def published(by: Actor, title: str = "On milk") -> str:
    """Publish an article and return its path."""
    made = await by.post(ARTICLES, json={"title": title, "content": "White."})
    path = f"{ARTICLES}/{made.json()['id']}"
    assert (await by.post(f"{path}/publish")).status_code == 200
    return path


def reads(statements: Statements) -> int:
    return sum("FROM articles" in each for each in statements)


async def test_an_anonymous_caller_gets_the_cached_response(
    ada: Actor, client: Client, context: Context, statements: Statements
) -> None:
    path = await published(ada)
    await settle(context)
    for address in (path, f"{path}?fields=title", ARTICLES, f"{ARTICLES}?sort=title&limit=5"):
        first = await client.get(address)
        assert first.headers["cache-control"] == f"public, max-age={MAX_AGE}"
        assert first.headers["vary"] == "Authorization, Cookie"
        assert 0 <= int(first.headers["age"]) <= MAX_AGE
        del statements[:]
        again = await client.get(address)
        assert reads(statements) == 0
        assert again.content == first.content
        assert again.headers["content-type"] == "application/json"
        assert int(again.headers["age"]) >= 1
        assert (await client.head(address)).headers["content-length"] == str(len(first.content))
    # The order of parameters and a slash at the end do not matter.
    del statements[:]
    await client.get(f"{ARTICLES}/?limit=5&sort=title")
    assert reads(statements) == 0


async def test_the_cached_response_of_an_article_has_its_tag(
    ada: Actor, client: Client, context: Context, statements: Statements
) -> None:
    path = await published(ada)
    await settle(context)
    tag = (await ada.get(path)).headers["etag"]
    for address in (path, f"{path}?fields=title"):
        # The condition of the first request does not decide what is stored.
        for sent, status in ((tag, 304), ('"another"', 200), (tag, 304), ("*", 304)):
            response = await client.get(address, headers={"If-None-Match": sent})
            assert response.status_code == status
            assert response.headers["etag"] == tag
            assert response.headers["cache-control"] == f"public, max-age={MAX_AGE}"
            assert response.headers["vary"] == "Authorization, Cookie"
            assert bool(response.content) == (status == 200)
    del statements[:]
    await client.get(path, headers={"If-None-Match": tag})
    assert reads(statements) == 0
    await ada.patch("/api/v1/users/me", json={"full_name": "Countess"})
    changed = await client.get(path, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.headers["etag"] == tag) == (200, False)


async def test_a_signed_in_caller_is_never_answered_from_the_cache(
    ada: Actor, bob: Actor, client: Client, statements: Statements
) -> None:
    path = await published(ada)
    await client.get(path)
    await client.get(ARTICLES)
    for actor in (ada, bob):
        for address in (path, ARTICLES):
            del statements[:]
            response = await actor.get(address)
            assert reads(statements) == 1
            assert "public" not in response.headers.get("cache-control", "")
            assert "age" not in response.headers
    # Their responses are not stored either: drafts stay private.
    draft = await ada.post(ARTICLES, json={"title": "Secret"})
    assert len((await ada.get(f"{ARTICLES}?limit=7")).json()["data"]) == 2
    assert len((await client.get(f"{ARTICLES}?limit=7")).json()["data"]) == 1
    assert (await client.get(draft.headers["location"])).status_code == 404


@pytest.mark.parametrize(
    "query", ["q=milk", "created_after=2020-01-01T00:00:00Z", "offset=1", "total=true"]
)
async def test_rare_queries_are_not_cached(
    ada: Actor, client: Client, statements: Statements, query: str
) -> None:
    await published(ada)
    for _ in range(2):
        del statements[:]
        response = await client.get(f"{ARTICLES}?{query}")
        assert response.status_code == 200
        assert reads(statements) >= 1
        assert "age" not in response.headers


async def test_errors_are_not_cached(ada: Actor, client: Client) -> None:
    made = await ada.post(ARTICLES, json={"title": "On milk", "content": "White."})
    path = f"{ARTICLES}/{made.json()['id']}"
    assert (await client.get(path)).status_code == 404
    assert (await client.get(path)).headers["cache-control"] == "no-store"
    assert (await client.get(f"{ARTICLES}?limit=0")).status_code == 422
    await ada.post(f"{path}/publish")
    assert (await client.get(path)).status_code == 200
    assert (await client.get(path.upper().replace("/API/V1/ARTICLES", ARTICLES))).is_success


async def test_a_large_page_is_not_stored(ada: Actor, client: Client) -> None:
    path = await published(ada)
    await ada.patch(path, json={"content": "x" * MAX_BYTES})
    for _ in range(2):
        response = await client.get(path)
        assert response.headers["cache-control"].startswith("public")
        assert len(response.json()["content"]) == MAX_BYTES


async def unpublish(ada: Actor, admin: Actor, path: str) -> Any:
    return await ada.post(f"{path}/unpublish")


async def archive(ada: Actor, admin: Actor, path: str) -> Any:
    return await ada.post(f"{path}/archive")


async def delete(ada: Actor, admin: Actor, path: str) -> Any:
    return await ada.delete(path)


async def edit(ada: Actor, admin: Actor, path: str) -> Any:
    return await ada.patch(path, json={"title": "On tea"})


async def rename(ada: Actor, admin: Actor, path: str) -> Any:
    return await ada.patch("/api/v1/users/me", json={"full_name": "Countess"})


async def rename_by_admin(ada: Actor, admin: Actor, path: str) -> Any:
    return await admin.patch(f"/api/v1/users/{ada.id}", json={"username": "countess"})


async def disable(ada: Actor, admin: Actor, path: str) -> Any:
    return await admin.patch(f"/api/v1/users/{ada.id}", json={"is_active": False})


async def delete_author(ada: Actor, admin: Actor, path: str) -> Any:
    return await admin.delete(f"/api/v1/users/{ada.id}")


Change = Callable[[Actor, Actor, str], Awaitable[Any]]
CHANGES: list[Change] = [
    *(unpublish, archive, delete, edit, rename, rename_by_admin, disable, delete_author),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_a_change_drops_what_it_changes_before_its_response(
    ada: Actor, admin: Actor, client: Client, statements: Statements, change: Change
) -> None:
    path = await published(ada)
    before = [(await client.get(address)).json() for address in (path, ARTICLES)]
    assert (await change(ada, admin, path)).is_success
    del statements[:]
    after = [(await client.get(address)).json() for address in (path, ARTICLES)]
    assert reads(statements) == 2
    if change is not disable:  # which changes nothing that is shown
        assert all(old != new for old, new in zip(before, after, strict=True))


async def test_other_changes_drop_nothing(
    ada: Actor, bob: Actor, client: Client, context: Context, statements: Statements
) -> None:
    path, other = await published(ada), await published(ada, "On tea")
    draft = await ada.post(ARTICLES, json={"title": "Secret"})
    await settle(context)
    await client.get(path)
    await client.get(ARTICLES)
    await ada.patch(draft.headers["location"], json={"title": "Draft"})
    await ada.delete(draft.headers["location"])
    # Bob has published nothing.
    await bob.patch("/api/v1/users/me", json={"full_name": "Robert"})
    del statements[:]
    await client.get(path)
    await client.get(ARTICLES)
    assert reads(statements) == 0
    # A change of one article leaves the others.
    await ada.patch(other, json={"title": "On coffee"})
    del statements[:]
    await client.get(path)
    assert reads(statements) == 0


async def test_a_change_that_is_rolled_back_drops_nothing(
    ada: Actor, client: Client, context: Context, statements: Statements
) -> None:
    path = await published(ada)
    await settle(context)
    await client.get(path)
    assert (await ada.patch(path, json={"content": None})).status_code == 422
    assert (await ada.post(f"{path}/publish")).status_code == 409
    del statements[:]
    await client.get(path)
    assert reads(statements) == 0


async def test_a_stampede_reads_once(
    ada: Actor, client: Client, context: Context, statements: Statements
) -> None:
    path = await published(ada)
    await settle(context)
    del statements[:]
    responses = await asyncio.gather(*(client.get(path) for _ in range(50)))
    assert {each.status_code for each in responses} == {200}
    assert reads(statements) == 1


async def test_a_change_during_the_read_is_seen_by_the_next_request(
    ada: Actor, client: Client, statements: Statements
) -> None:
    path = await published(ada)

    async def change() -> None:
        assert (await ada.patch(path, json={"title": "On tea"})).is_success

    # After the article was read, and before its author is.
    statements.before("FROM users", change)
    assert (await client.get(path)).json()["title"] == "On milk"
    assert (await client.get(path)).json()["title"] == "On tea"


async def test_it_is_read_from_the_primary(
    own_database_url: str, request: pytest.FixtureRequest
) -> None:
    server = databases.server_url(request.config)
    # A database without the article stands for a replica that lags behind.
    with databases.cloned_database(server) as lagging:
        replica_url = SecretStr(lagging)
        async with caching_app(own_database_url, database_replica_url=replica_url) as (app, made):
            replica = made.database.replica
            assert isinstance(replica, ReplicaRunner)
            # Skip the check, which would refuse a server that is not a standby.
            replica.problem = None
            factory = ActorFactory(app, made)
            async with factory.stack, Client(app) as client:
                path = await published(await factory("ada"))
                assert (await client.get(path)).status_code == 200
                assert len((await client.get(ARTICLES)).json()["data"]) == 1
                # Other requests of anonymous callers use the replica.
                assert (await client.get(f"{ARTICLES}?q=milk")).json()["data"] == []


async def test_without_a_cache_nothing_is_public(
    database_url: str, ada: Actor, client: Client, app: FastAPI
) -> None:
    path = await published(ada)
    off = make_context(database_url)
    app.state.context = off
    try:
        for address in (path, ARTICLES):
            response = await client.get(address)
            assert "public" not in response.headers["cache-control"]
            assert "age" not in response.headers
    finally:
        await off.close()


class TestSeveralProcesses:
    """Two applications on one database, each with a memory of its own."""

    async def test_a_commit_drops_the_responses_of_other_processes(
        self, database_url: str, ada: Actor, client: Client
    ) -> None:
        async with caching_app(database_url) as (app, _), Client(app) as elsewhere:
            path = await published(ada)
            for title in ("On tea", "On coffee"):
                await client.get(path)
                await elsewhere.get(path)
                assert (await ada.patch(path, json={"title": title})).is_success
                await until_title(elsewhere, path, title)
            assert (await ada.delete(path)).status_code == 204
            await until_title(elsewhere, path, None)
            await until_title(elsewhere, ARTICLES, None)

    async def test_the_notification_is_part_of_the_transaction(
        self, database_url: str, app: FastAPI, ada: Actor, client: Client, context: Context
    ) -> None:
        """A process that is killed after its commit, before it drops anything, changes nothing."""
        path = await published(ada)
        await client.get(path)
        # It never connects, so it only sends notifications.
        writer = make_context(database_url, cache_storage="memory")
        app.state.context = writer
        assert (await ada.patch(path, json={"title": "On tea"})).is_success
        app.state.context = context
        await until_title(client, path, "On tea")
        await writer.close()

    async def test_a_process_without_its_connection_does_not_use_its_cache(
        self,
        own_database_url: str,
        monkeypatch: pytest.MonkeyPatch,
        statements: Statements,
        log: list[Any],
    ) -> None:
        async with caching_app(own_database_url) as (app, context):
            factory = ActorFactory(app, context)
            async with factory.stack, Client(app) as client:
                path = await published(await factory("ada"))
                await client.get(path)
                monkeypatch.setattr(notifications, "FIRST_PAUSE", 1)
                lose_connection(own_database_url)
                await until(lambda: not is_connected(context))
                # Nobody sends a notification of this change, and it is seen.
                for title in ("On tea", "On coffee"):
                    change_silently(own_database_url, title)
                    response = await client.get(path)
                    assert response.json()["title"] == title
                    assert response.headers["cache-control"].startswith("public")
                await until(lambda: is_connected(context))
                # The responses stored before are gone.
                assert (await client.get(path)).json()["title"] == "On coffee"
                del statements[:]
                await client.get(path)
                assert reads(statements) == 0
                assert [each["event"] for each in log].count("cache_away") == 1

    async def test_behind_a_transaction_pooler_nothing_is_cached(
        self, database_url: str, statements: Statements, log: list[Any]
    ) -> None:
        made = make_context(database_url, cache_storage="memory", database_pooler="transaction")
        made.state.started = True
        async with using_cache(made.cache, made.settings, made.database):
            await check_nothing_is_cached(made, statements)
        assert [each["reason"] for each in log if each["event"] == "cache_away"] == [UNHEARD]
        await made.close()

    @pytest.mark.slow
    async def test_a_pooler_that_delivers_nothing_is_noticed(
        self, own_database_url: str, statements: Statements, log: list[Any]
    ) -> None:
        with pooler(own_database_url) as bouncer:
            made = make_context(
                own_database_url,
                cache_storage="memory",
                database_direct_url=SecretStr(bouncer.url),
            )
            made.state.started = True
            async with using_cache(made.cache, made.settings, made.database):
                await until(lambda: [each for each in log if each["event"] == "cache_away"])
                await check_nothing_is_cached(made, statements)
            assert [each["reason"] for each in log if each["event"] == "cache_away"] == [UNHEARD]
            await made.close()

    async def test_redis_is_shared(
        self, database_url: str, app: FastAPI, ada: Actor, client: Client, statements: Statements
    ) -> None:
        with redis_server() as server:
            url = SecretStr(server.url)
            async with (
                caching(database_url, "redis", redis_url=url) as one,
                caching_app(database_url, "redis", redis_url=url) as (other, _),
                Client(other) as elsewhere,
            ):
                app.state.context = one
                path = await published(ada)
                await client.get(path)
                del statements[:]
                assert (await elsewhere.get(path)).json()["title"] == "On milk"
                assert reads(statements) == 0
                # Once the change is acknowledged, no process uses the former response.
                await ada.patch(path, json={"title": "On tea"})
                assert (await elsewhere.get(path)).json()["title"] == "On tea"
                assert "pg_notify" not in " ".join(statements)


async def check_nothing_is_cached(context: Context, statements: Statements) -> None:
    app = make_app(context)
    factory = ActorFactory(app, context)
    async with factory.stack, Client(app) as client:
        path = await published(await factory("ada"))
        for _ in range(2):
            del statements[:]
            response = await client.get(path)
            assert response.headers["cache-control"].startswith("public")
            assert reads(statements) == 1
            again = {"If-None-Match": response.headers["etag"]}
            assert (await client.get(path, headers=again)).status_code == 304


async def until_title(client: Client, path: str, title: str | None) -> None:
    """Wait until the first article that this path shows has the title; None means no article."""
    deadline = time.monotonic() + PATIENCE
    while True:
        response = await client.get(path)
        body = response.json()
        data = [] if response.is_error else body.get("data", [body])
        if (data[0].get("title") if data else None) == title:
            return
        assert time.monotonic() < deadline, f"{path} still shows {body}"
        await asyncio.sleep(0.005)


def lose_connection(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TERMINATE)


def change_silently(url: str, title: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE articles SET title = %s", [title])
