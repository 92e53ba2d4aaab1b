"""Liveness and readiness."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text

from backend.core.app import running
from backend.core.context import Context
from backend.db.congestion import ThreadUse
from backend.db.errors import OverloadedError
from backend.db.replica import AWAY
from backend.product import VERSION
from tests import databases
from tests.actors import Client
from tests.applications import make_context

READY = "/health/ready"
# No server listens on port 1; responses must not contain the rest of the URL.
DOWN = "postgresql://somebody:hunter2@127.0.0.1:1/secretbase?sslmode=disable"
HIDDEN = ("127.0.0.1", "localhost", "somebody", "hunter2", "secretbase", "postgres", ":1/")


async def ready(client: Client) -> tuple[int, dict[str, Any]]:
    answer: httpx.Response = await client.get(READY)
    body: dict[str, Any] = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    for check in body["checks"].values():
        assert check["latency_ms"] >= 0
    return answer.status_code, body


def statuses(body: dict[str, Any]) -> dict[str, str]:
    """Return the statuses of the required checks; others only degrade, as without a worker."""
    return {name: body["checks"][name]["status"] for name in ("database", "migrations", "startup")}


@pytest.fixture
async def without_database(app: FastAPI) -> AsyncIterator[Context]:
    """The context of a started application whose database is unreachable."""
    made = make_context(DOWN)
    made.state.started = True
    app.state.context = made
    yield made
    await made.database.close()


async def test_health_tells_the_version(client: Client) -> None:
    answer = await client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "version": VERSION}


@pytest.mark.parametrize("path", ["/health", "/health/live", READY])
async def test_every_spelling_and_head(client: Client, path: str) -> None:
    assert (await client.get(f"{path}/")).status_code == 200
    head = await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    wrong = await client.post(path)
    assert wrong.status_code == 405
    assert set(wrong.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert (await client.get(f"{path}?colour=red")).status_code == 422


async def test_health_is_not_below_the_api(client: Client) -> None:
    for path in ("/api/v1/health", "/health/other", "/healthy"):
        assert (await client.get(path)).status_code == 404


async def test_ready_when_all_is_well(client: Client, context: Context) -> None:
    async with context.database.transaction() as session:
        register = text("SELECT procrastinate_register_worker_v1()")
        await (await session.connection()).execute(register)
    status, body = await ready(client)
    assert status == 200
    assert body.keys() == {"status", "checks"}
    assert body["status"] == "ok"
    assert body["checks"].keys() >= {"database", "migrations", "startup"}
    assert {check["status"] for check in body["checks"].values()} == {"ok"}


async def test_ready_is_not_refused_while_too_many_requests_wait(
    client: Client, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A thread without time left, as on a busy machine, refuses nobody.
    monkeypatch.setattr(ThreadUse, "exhausted", lambda *_: False)
    gate = context.database.primary.gate

    async def wait() -> None:
        async with gate.place():
            await asyncio.sleep(0)

    async with AsyncExitStack() as held:
        places = gate._free
        for _ in range(places):
            await held.enter_async_context(gate.place())
        waiting = [asyncio.create_task(wait()) for _ in range(places)]
        await asyncio.sleep(0)
        # As if nobody had got a place for longer than anybody may wait.
        gate._congestion.begin(asyncio.get_running_loop().time() - 60)
        with pytest.raises(OverloadedError):
            await gate.acquire()
        check = asyncio.create_task(ready(client))
        await asyncio.sleep(0.05)
    status, body = await check
    assert (status, set(statuses(body).values())) == (200, {"ok"})
    await asyncio.gather(*waiting)


async def test_the_start_waits_for_the_first_check_of_the_replica(database_url: str) -> None:
    context = make_context(database_url, (), database_replica_url=SecretStr(DOWN))
    async with running(context, ()):
        # The start waits for at most a second, which a busy machine may take.
        async with asyncio.timeout(30):
            await context.database.replica_checked()
        assert context.database.replica_problem() == AWAY


async def test_ready_but_degraded_without_a_worker(client: Client) -> None:
    status, body = await ready(client)
    assert (status, body["status"]) == (200, "degraded")
    worker = body["checks"]["worker"]
    assert worker["status"] == "degraded"
    assert worker["detail"] == "No worker runs, so jobs and mail wait: start `backend worker`."
    assert set(statuses(body).values()) == {"ok"}


@pytest.mark.usefixtures("without_database")
async def test_alive_without_a_database(client: Client) -> None:
    assert (await client.get("/health/live")).json() == {"status": "ok"}
    assert (await client.get("/health")).json()["status"] == "ok"


async def test_live_and_health_touch_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a statement was sent")

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", refuse)
    monkeypatch.setattr(psycopg.AsyncConnection, "connect", refuse)
    for path in ("/health", "/health/live"):
        assert (await client.get(path)).status_code == 200


@pytest.mark.usefixtures("without_database")
async def test_not_ready_without_a_database_and_silent_about_it(client: Client) -> None:
    status, body = await ready(client)
    assert status == 503
    assert body["status"] == "error"
    assert statuses(body)["database"] == "error"
    assert statuses(body)["migrations"] == "error"
    shown = str(body).lower()
    assert [word for word in HIDDEN if word in shown] == []


async def test_ready_again_when_the_database_is_back(
    client: Client, app: FastAPI, context: Context, without_database: Context
) -> None:
    assert (await ready(client))[0] == 503
    app.state.context = context
    assert (await ready(client))[0] == 200


async def test_not_ready_on_a_schema_that_was_never_migrated(
    client: Client, app: FastAPI, request: pytest.FixtureRequest
) -> None:
    server = databases.server_url(request.config)
    with databases.cloned_database(server, template="app") as url:
        made = make_context(url)
        made.state.started = True
        app.state.context = made
        status, body = await ready(client)
        await made.database.close()
    assert (status, body["status"]) == (503, "error")
    assert statuses(body) == {"database": "ok", "migrations": "error", "startup": "ok"}
    assert "backend db upgrade" in body["checks"]["migrations"]["detail"]


async def test_ready_on_a_schema_that_is_newer_than_the_code(
    client: Client, app: FastAPI, own_database_url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(own_database_url) as connection:
        await connection.execute("UPDATE alembic_version SET version_num = '9999'")
    made = make_context(own_database_url)
    made.state.started = True
    app.state.context = made
    status, body = await ready(client)
    await made.database.close()
    assert status == 200
    assert statuses(body) == {"database": "ok", "migrations": "ok", "startup": "ok"}


async def test_not_ready_before_the_startup_work_is_done(client: Client, context: Context) -> None:
    context.state.started = False
    status, body = await ready(client)
    assert (status, body["status"]) == (503, "error")
    assert {name for name, each in statuses(body).items() if each == "error"} == {"startup"}
    context.state.started = True
    assert (await ready(client))[0] == 200


async def test_not_ready_while_draining(client: Client, context: Context) -> None:
    context.state.draining = True
    status, body = await ready(client)
    assert (status, body["status"]) == (503, "draining")
    assert set(statuses(body).values()) == {"ok"}
    # Requests are still served.
    assert (await client.get("/api/v1/articles")).status_code == 200
    assert (await client.get("/health/live")).status_code == 200


async def test_other_routes_say_unavailable_while_the_database_is_down(
    client: Client, without_database: Context
) -> None:
    credentials = {"email": "ada@example.com", "password": "password of hers"}
    answers = [
        await client.get("/api/v1/articles"),
        await client.post("/api/v1/auth/login", json=credentials),
        await client.post("/api/v1/auth/register", json=credentials),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]) == (503, "SERVICE_UNAVAILABLE")
        assert [word for word in HIDDEN if word in answer.text.lower()] == []
