"""Requests are counted, and responses report the remaining quota."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI

from backend.addresses.ip_addresses import address_key
from backend.core.authorization import policies
from backend.core.context import Context
from backend.core.registry import prefix_of, routes_of
from tests.actors import PASSWORD, ActorFactory, Client
from tests.applications import MODULES, make_context

ME = "/api/v1/users/me"
ARTICLES = "/api/v1/articles"
HEALTH = {"GET /health", "GET /health/live", "GET /health/ready"}
# This route has stricter limits of its own.
LOGIN = "POST /api/v1/auth/login"
Limit = Callable[..., Awaitable[Context]]


@pytest.fixture
async def limit(app: FastAPI, database_url: str) -> AsyncIterator[Limit]:
    """Switches limits on: `await limit("2/minute", storage="postgres")`."""
    made: list[Context] = []

    async def switch_on(rules: str, *, storage: str = "memory", **settings: Any) -> Context:
        given = {"rate_limit_enabled": True, "rate_limit_storage": storage, **settings}
        context = make_context(database_url, rate_limit_default=rules, **given)
        context.state.started = True
        app.state.context = context
        made.append(context)
        return context

    yield switch_on
    for each in made:
        await each.database.close()


@pytest.mark.parametrize("storage", ["memory", "postgres"])
async def test_answers_say_what_is_left(limit: Limit, actor: ActorFactory, storage: str) -> None:
    ada = await actor("ada")
    await limit("3/minute;5/hour", storage=storage)
    policy = ""
    for left in (2, 1, 0):
        answer = await ada.get(ME)
        assert answer.status_code == 200
        policy = answer.headers["ratelimit-policy"]
        assert policy == '"minute";q=3;w=60, "hour";q=5;w=3600'
        name, remaining, reset = answer.headers["ratelimit"].split(";")
        assert (name, remaining) == ('"minute"', f"r={left}")
        assert 0 < int(reset.removeprefix("t=")) <= 60
    refused = await ada.get(ME)
    assert (refused.status_code, refused.json()["error"]) == (429, "RATE_LIMITED")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit"].startswith('"minute";r=0;t=')
    assert refused.headers["ratelimit-policy"] == policy


async def test_the_nearer_of_two_limits_is_shown(limit: Limit, client: Client) -> None:
    await limit("5/minute;3/hour")
    shown = [(await client.get(ARTICLES)).headers["ratelimit"] for _ in range(4)]
    assert [text.rpartition(";")[0] for text in shown] == [
        *('"hour";r=2', '"hour";r=1', '"hour";r=0', '"hour";r=0')
    ]


async def test_errors_are_counted_and_carry_the_headers(limit: Limit, actor: ActorFactory) -> None:
    ada = await actor("ada")
    await limit("5/minute")
    answers = [
        await ada.get("/api/v1/users"),
        await ada.get("/api/v1/items/00000000-0000-7000-8000-000000000000"),
        await ada.post("/api/v1/items", json={"no": "title"}),
        await ada.get(ARTICLES, headers={"Accept": "image/png"}),
    ]
    assert [each.status_code for each in answers] == [403, 404, 422, 406]
    shown = [each.headers["ratelimit"].split(";")[1] for each in answers]
    assert shown == ["r=4", "r=3", "r=2", "r=1"]


async def test_head_counts_once(limit: Limit, client: Client) -> None:
    await limit("5/minute")
    answer = await client.head(ARTICLES)
    assert answer.headers.get_list("ratelimit") == ['"minute";r=4;t=60']
    assert (await client.get(f"{ARTICLES}/")).headers["ratelimit"].startswith('"minute";r=3')


async def test_a_refused_caller_learns_no_more_than_that(limit: Limit, actor: ActorFactory) -> None:
    ada = await actor("ada")
    await limit("1/minute")
    await ada.get(ME)
    assert (await ada.get("/api/v1/users")).status_code == 429
    assert (await ada.post("/api/v1/items", content=b"{")).status_code == 429


async def test_each_user_and_each_address_has_limits_of_its_own(
    limit: Limit, actor: ActorFactory, app: FastAPI, client: Client
) -> None:
    ada, bob = await actor("ada"), await actor("bob")
    await limit("1/minute")
    # All three call from one address.
    for each in (ada, bob, client):
        assert (await each.get(ARTICLES)).status_code == 200
        assert (await each.get(ARTICLES)).status_code == 429
    async with Client(app, address="192.0.2.7") as elsewhere:
        assert (await elsewhere.get(ARTICLES)).status_code == 200
        # A user's requests are counted together, whatever the address.
        headers = {"Authorization": f"Bearer {ada.token}"}
        assert (await elsewhere.get(ARTICLES, headers=headers)).status_code == 429


async def test_broken_tokens_are_counted_by_address(limit: Limit, client: Client) -> None:
    await limit("3/minute")
    answers = [
        await client.get(ME, headers={"Authorization": f"Bearer guess{number}"})
        for number in range(4)
    ]
    assert [each.status_code for each in answers] == [401, 401, 401, 429]
    assert answers[0].headers["ratelimit"] == '"minute";r=2;t=60'
    assert (await client.get(ME)).status_code == 429
    assert (await client.get(ARTICLES)).status_code == 429


async def test_missing_tokens_are_counted_by_address(limit: Limit, client: Client) -> None:
    await limit("2/minute")
    assert [(await client.get(ME)).status_code for _ in range(3)] == [401, 401, 429]


async def test_an_ipv6_network_counts_as_one(limit: Limit, app: FastAPI) -> None:
    await limit("1/minute")
    statuses = []
    for address in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"):
        async with Client(app, address=address) as somebody:
            statuses.append((await somebody.get(ARTICLES)).status_code)
    assert statuses == [200, 429, 200]


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        (None, "unknown"),
        ("testclient", "unknown"),
    ],
)
def test_what_stands_for_an_address(address: str | None, key: str) -> None:
    assert address_key(address) == key


async def test_health_pages_and_preflights_are_not_counted(limit: Limit, client: Client) -> None:
    await limit("1/minute")
    assert (await client.get(ARTICLES)).status_code == 200
    preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    answers = [
        *[await client.get(path) for path in ("/health", "/health/live", "/health/ready")],
        *[await client.get(path) for path in ("/docs", "/redoc", "/openapi.json")],
        await client.get("/errors/RATE_LIMITED"),
        await client.options(ARTICLES, headers=preflight),
    ]
    assert [each.status_code for each in answers] == [200] * 7 + [204]
    assert [each for each in answers if "ratelimit" in each.headers] == []
    assert (await client.get(ARTICLES)).status_code == 429


def test_every_other_route_is_counted() -> None:
    found = {
        f"{method} {prefix_of(module)}{route.path}"
        for module in MODULES
        for route in routes_of(module)
        for method in route.methods or ()
        if not policies(route.dependant)[0].limited
    }
    assert found - {LOGIN} == HEALTH | {each for each in found if "/dev/" in each}


async def test_limits_can_be_switched_off(limit: Limit, client: Client) -> None:
    await limit("1/minute", rate_limit_enabled=False)
    answers = [await client.get(ARTICLES) for _ in range(3)]
    assert [each.status_code for each in answers] == [200] * 3
    assert [each for each in answers if "ratelimit" in each.headers] == []


@pytest.mark.parametrize("storage", ["memory", "postgres"])
@pytest.mark.slow
async def test_refused_requests_cost_nothing(limit: Limit, client: Client, storage: str) -> None:
    await limit("1/2 seconds", storage=storage)
    assert (await client.get(ARTICLES)).status_code == 200
    refused = [await client.get(ARTICLES) for _ in range(5)]
    assert [each.status_code for each in refused] == [429] * 5
    await asyncio.sleep(int(refused[-1].headers["retry-after"]))
    assert (await client.get(ARTICLES)).status_code == 200


async def test_a_flood_of_refused_requests_stays_in_its_process(
    limit: Limit, client: Client, database_url: str
) -> None:
    await limit("1/minute", storage="postgres")
    assert (await client.get(ARTICLES)).status_code == 200
    first = (await client.get(ARTICLES)).headers
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("LOCK TABLE rate_limit_quotas")
        again = await client.get(ARTICLES)
    assert again.status_code == 429
    assert again.headers["ratelimit-policy"] == first["ratelimit-policy"]
    assert 55 <= int(again.headers["retry-after"]) <= int(first["retry-after"])


async def test_neither_users_nor_addresses_are_stored(
    limit: Limit, client: Client, actor: ActorFactory, database_url: str
) -> None:
    ada = await actor("ada")
    await limit("9/minute", storage="postgres")
    await client.get(ARTICLES)
    await ada.get(ARTICLES)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        found = await (await connection.execute("SELECT key FROM rate_limit_quotas")).fetchall()
    assert [len(key) for (key,) in found] == [16, 16]
    assert not any(ada.id.bytes in key or b"127.0.0.1" in key for (key,) in found)


async def test_without_its_database_nobody_is_served_uncounted(
    client: Client, app: FastAPI
) -> None:
    app.state.context = made = make_context(
        "postgresql://nobody@/nothing?host=/nonexistent",
        rate_limit_enabled=True,
        rate_limit_storage="postgres",
    )
    answer = await client.get(ARTICLES)
    assert (answer.status_code, answer.json()["error"]) == (503, "SERVICE_UNAVAILABLE")
    assert (await client.get("/health/live")).status_code == 200
    await made.database.close()


async def test_what_anybody_may_send_is_turned_away_at_the_door(
    limit: Limit, client: Client, app: FastAPI, database_url: str
) -> None:
    context = await limit("1000/minute;2000/hour", storage="postgres")
    body = {"email": "nobody@example.com", "password": "Not the right one"}
    answers = [await client.post("/api/v1/auth/login", json=body) for _ in range(31)]
    assert [each.status_code for each in answers].count(429) == 26
    locked, refused = answers[-2], answers[-1]
    # The response reports the account's limit while that refuses, then the address's.
    assert locked.headers["ratelimit-policy"] == '"5-minutes";q=5;w=300'
    assert refused.headers["ratelimit-policy"] == '"minute";q=30;w=60'
    assert refused.headers.get_list("ratelimit")[0].startswith('"minute";r=0;t=')
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("LOCK TABLE rate_limit_quotas, rate_limit_guesses, users")
        again = [
            await client.post("/api/v1/auth/login", content=b"not even JSON"),
            await client.post("/api/v1/auth/login/", json=body, headers={"Authorization": "x"}),
        ]
    for each in again:
        assert (each.status_code, each.json()["error"]) == (429, "RATE_LIMITED")
        assert 1 <= int(each.headers["retry-after"]) <= int(refused.headers["retry-after"])
        assert each.headers["ratelimit-policy"] == refused.headers["ratelimit-policy"]
    # Other addresses are admitted, and so is this address on another route.
    async with Client(app, address="192.0.2.7") as other:
        assert (await other.post("/api/v1/auth/login", content=b"no JSON")).status_code == 415
    forgotten = await client.post("/api/v1/auth/forgot-password", json={"email": body["email"]})
    assert forgotten.status_code == 202
    assert context.limits is not None
    assert len(context.limits.refused) == 1


@pytest.mark.parametrize("storage", ["memory", "postgres"])
async def test_at_the_door_all_limits_are_told(limit: Limit, client: Client, storage: str) -> None:
    context = await limit("1/minute;9/hour", storage=storage)
    body = {"email": "nobody@example.com"}
    path = "/api/v1/auth/forgot-password"
    answers = [await client.post(path, json=body) for _ in range(3)]
    assert [each.status_code for each in answers] == [202, 429, 429]
    assert {each.headers["ratelimit-policy"] for each in answers} == {
        '"minute";q=1;w=60, "hour";q=9;w=3600'
    }
    assert context.limits is not None
    assert len(context.limits.refused) == 1


async def test_a_locked_account_is_no_reason_to_turn_an_address_away(
    limit: Limit, client: Client, actor: ActorFactory
) -> None:
    ada = await actor("ada")
    context = await limit("1000/minute", storage="postgres")
    body = {"email": "nobody@example.com", "password": "Not the right one"}
    answers = [await client.post("/api/v1/auth/login", json=body) for _ in range(6)]
    assert answers[-1].status_code == 429
    assert context.limits is not None
    assert len(context.limits.refused) == 0
    right = {"email": ada.email, "password": PASSWORD}
    assert (await client.post("/api/v1/auth/login", json=right)).status_code == 200
