"""Requests refused for lack of permission are recorded."""

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest
from fastapi import FastAPI
from psycopg.sql import SQL, Identifier

from backend.core.context import Context
from tests.actors import Actor, ActorFactory, Client
from tests.applications import make_context

NOBODY = "0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a"
DENIED = "SELECT actor_id, target_type, target_id, outcome, request_id FROM audit_events "
DENIED += "WHERE action = 'access.denied'"


def denied(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return connection.execute(DENIED.encode()).fetchall()


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/api/v1/users", "GET /api/v1/users"),
        ("HEAD", "/api/v1/users/", "GET /api/v1/users"),
        ("PATCH", f"/api/v1/users/{NOBODY}", "PATCH /api/v1/users/{id}"),
        ("PUT", f"/api/v1/users/{NOBODY}/roles", "PUT /api/v1/users/{id}/roles"),
        ("GET", "/api/v1/users?q=a%20secret&no=such", "GET /api/v1/users"),
    ],
    ids=lambda value: value if value.startswith("/") else None,
)
async def test_a_refusal_names_the_route_and_nothing_that_was_sent(
    ada: Actor, database: psycopg.Connection, method: str, path: str, route: str
) -> None:
    headers = {"X-Request-ID": "refused-one"}
    assert (await ada.request(method, path, headers=headers)).status_code == 403
    assert denied(database) == [(ada.id, "route", route, "denied", "refused-one")]


async def test_a_refusal_by_the_service_is_kept_although_its_transaction_is_not(
    ada: Actor, bob: Actor, database: psycopg.Connection
) -> None:
    made = await ada.post("/api/v1/articles", json={"title": "Notes", "content": "Text."})
    where = made.headers["location"]
    await ada.post(f"{where}/publish")
    assert (await bob.patch(where, json={"title": "Mine"})).status_code == 403
    assert (await ada.get(where)).json()["title"] == "Notes"
    route = "PATCH /api/v1/articles/{id}"
    assert [row[:4] for row in denied(database)] == [(bob.id, "route", route, "denied")]


async def test_strangers_and_wrong_addresses_are_no_refusals(
    ada: Actor, client: Client, database: psycopg.Connection
) -> None:
    assert (await client.get("/api/v1/users")).status_code == 401
    client.headers["Authorization"] = "Bearer broken"
    assert (await client.get("/api/v1/users")).status_code == 401
    assert (await ada.get(f"/api/v1/items/{uuid4()}")).status_code == 404
    assert (await ada.put("/api/v1/items")).status_code == 405
    assert denied(database) == []


@pytest.fixture
async def fragile(
    own_database_url: str, app: FastAPI
) -> AsyncIterator[tuple[Context, ActorFactory, psycopg.Connection]]:
    """An application on a database that can refuse all further connections."""
    context = make_context(own_database_url)
    context.state.started = True
    app.state.context = context
    cast = ActorFactory(app, context)
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        async with cast.stack:
            yield context, cast, connection
    await app.state.context.database.close()
    await context.database.close()


async def test_a_refusal_that_cannot_be_written_down_is_a_503(
    fragile: tuple[Context, ActorFactory, psycopg.Connection], app: FastAPI
) -> None:
    context, cast, connection = fragile
    ada = await cast("ada")
    # Only the connection that reads the caller's identity is open when others are refused.
    app.state.context = replace(context, database=make_context(str(_url(context))).database)
    assert (await ada.get("/api/v1/users/me")).status_code == 200
    name = Identifier(connection.info.dbname)
    with psycopg.connect(_url(context), dbname="postgres", autocommit=True) as server:
        server.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        refused = await ada.get("/api/v1/users")
        assert refused.status_code == 503
        assert refused.json()["error"] == "SERVICE_UNAVAILABLE"
        assert denied(connection) == []
        server.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
    assert (await ada.get("/api/v1/users")).status_code == 403
    assert len(denied(connection)) == 1


def _url(context: Context) -> str:
    url = context.settings.database_url
    assert url is not None
    return url.get_secret_value()
