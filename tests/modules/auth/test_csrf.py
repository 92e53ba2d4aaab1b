"""Other sites cannot use the cookies of a signed-in user."""

import re
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI

from backend.core.authorization import policies
from backend.core.context import Context
from backend.core.registry import prefix_of, routes_of
from tests.actors import PASSWORD, Actor, ActorFactory, Client
from tests.applications import MODULES
from tests.samples import present
from tests.sessions import (
    LOGIN,
    LOGOUT,
    ME,
    NO_ACCESS,
    REFRESH,
    SESSIONS,
    bearer,
    execute,
    outcome,
    sign_in,
)
from tests.web import (
    ACCESS,
    ALLOWED_ORIGIN,
    COOKIE_LOGIN,
    CSRF,
    CSRF_FAILED,
    OWN_ORIGIN,
    REFRESHING,
    Page,
    configure,
    configured_client,
    cookies_set,
    sign_in_by_cookie,
)

ITEMS = "/api/v1/items"
USERS = "/api/v1/users"
REGISTER = "/api/v1/auth/register"
TEA = {"title": "Tea"}
HEADER = "X-CSRF-Token"
FOREIGN = [
    "http://evil.example",
    "null",
    "",
    "http://testserver.evil.example",
    "http://testserver:81",
    "http://evil.example/http://testserver",
    "http://ada@testserver",
    "http://localhost:3001",
    "http://localhost",
    "https://localhost:3000",
    "ftp://testserver",
    "testserver",
    "http://[",
]
ORIGINS = pytest.mark.parametrize(
    "origin",
    [{}, {"Origin": ALLOWED_ORIGIN}, {"Origin": OWN_ORIGIN}],
    ids=["without", "listed", "own"],
)
# One request of each kind that writes, and its status with the right CSRF token.
UNSAFE = [
    ("POST", ITEMS, TEA, 201),
    ("PATCH", ME, {"full_name": "Ada"}, 200),
    ("PUT", ME, {"full_name": "Ada"}, 200),
    ("DELETE", ME, None, 204),
    ("POST", REFRESH, {}, 200),
    ("POST", LOGOUT, None, 204),
]
WRITTEN = present(["users", "items", "sessions"])


async def contents(url: str) -> list[dict[str, Any]]:
    """Return all rows that these requests could change; audit events are not compared."""
    rows = [f"(SELECT json_agg(t ORDER BY id) FROM {each} t) AS {each}" for each in WRITTEN]  # noqa: S608  # see above
    return await execute(url, f"SELECT {', '.join(rows)}")


async def send(page: Page, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
    return await page.request(method, path, json=body, headers=headers)


# --- The token


@pytest.mark.parametrize(("method", "path", "body", "status"), UNSAFE)
async def test_what_changes_something_needs_the_token(
    page: Page,
    actor: ActorFactory,
    database_url: str,
    method: str,
    path: str,
    body: Any,
    status: int,
) -> None:
    own, others = page.login["csrf_token"], (await _page_of_bob(page, actor)).login["csrf_token"]
    before = await contents(database_url)
    # The token in the header, and the token in the cookie.
    for sent, cookie in [
        (None, own),
        ("", own),
        ("", ""),
        ("x", own),
        ("x", "x"),
        (own, ""),
        (own, "x"),
        (own[:-1], own[:-1]),
        (own.upper(), own),
        (f"{own}0", own),
        (others, own),
        (others, others),
        (page.cookie(ACCESS), own),
    ]:
        page.change_cookie(CSRF, cookie)
        headers = {} if sent is None else {HEADER: sent}
        refused = await send(page, method, path, body, headers)
        assert outcome(refused) == CSRF_FAILED, (sent, cookie)
        assert not cookies_set(refused)
    assert await contents(database_url) == before
    page.change_cookie(CSRF, own)
    assert (await send(page, method, path, body, page.csrf)).status_code == status


async def _page_of_bob(page: Page, actor: ActorFactory) -> Page:
    bob = await actor("bob")
    async with Client(actor.app) as client:
        return await sign_in_by_cookie(client, bob.email)


async def test_the_cookie_must_be_there(page: Page, database_url: str) -> None:
    page.change_cookie(CSRF, None)
    before = await contents(database_url)
    for method, path, body, _ in UNSAFE:
        assert outcome(await send(page, method, path, body, page.csrf)) == CSRF_FAILED
        assert outcome(await send(page, method, path, body, {})) == CSRF_FAILED
    assert await contents(database_url) == before


async def test_another_session_of_the_same_user_has_another(page: Page, app: FastAPI) -> None:
    async with Client(app) as client:
        other = await sign_in_by_cookie(client)
    assert other.login["csrf_token"] != page.login["csrf_token"]
    page.change_cookie(CSRF, other.login["csrf_token"])
    assert outcome(await page.post(ITEMS, json=TEA, headers=other.csrf)) == CSRF_FAILED


async def test_what_reads_needs_none(page: Page) -> None:
    page.change_cookie(CSRF, None)
    for method in ("GET", "HEAD"):
        for path in (ME, ITEMS, SESSIONS, "/api/v1/articles"):
            assert (await page.request(method, path)).status_code == 200
    assert (await page.options(ITEMS)).status_code == 405


def _refused_without_it() -> list[str]:
    """Return every route that writes and identifies its caller."""
    found = [
        f"{method} {prefix_of(module)}{route.path}"
        for module in MODULES
        for route in routes_of(module)
        for method in (route.methods or set()) - {"GET", "HEAD", "OPTIONS"}
        if str(policies(route.dependant)[0]) != "ignored"
    ]
    return sorted([*found, f"POST {REFRESH}", f"POST {LOGOUT}"])


@pytest.mark.parametrize("route", _refused_without_it())
async def test_no_route_is_without_protection(page: Page, database_url: str, route: str) -> None:
    method, _, path = route.partition(" ")
    path = re.sub(r"{\w+}", str(uuid4()), path)
    before = await contents(database_url)
    for headers in ({}, page.csrf | {"Origin": "http://evil.example"}):
        assert outcome(await page.request(method, path, headers=headers)) == CSRF_FAILED
    assert await contents(database_url) == before


# --- The origin of the request


@pytest.fixture
def listed(app: FastAPI, context: Context) -> str:
    """Allow one other origin, and return it."""
    configure(app, context, cors_origins=(ALLOWED_ORIGIN,))
    return ALLOWED_ORIGIN


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_origin_is_refused_with_the_right_token(
    listed: str, page: Page, database_url: str, origin: str
) -> None:
    before = await contents(database_url)
    headers = page.csrf | {"Origin": origin}
    for method, path, body, _ in UNSAFE:
        assert outcome(await send(page, method, path, body, headers)) == CSRF_FAILED
    twice = [*page.csrf.items(), ("Origin", listed), ("Origin", origin)]
    assert outcome(await page.post(ITEMS, json=TEA, headers=twice)) == CSRF_FAILED
    assert await contents(database_url) == before


@ORIGINS
async def test_other_origins_pass(listed: str, page: Page, origin: dict[str, str]) -> None:
    headers = page.csrf | origin
    for site in ("same-origin", "same-site", "none", ""):
        answer = await page.post(ITEMS, json=TEA, headers=headers | {"Sec-Fetch-Site": site})
        assert answer.status_code == 201
    assert (await page.post(REFRESH, headers=headers)).status_code == 200
    assert (await page.post(LOGOUT, headers=headers)).status_code == 204
    body = {"email": "ada", "password": PASSWORD}
    assert (await page.post(COOKIE_LOGIN, json=body, headers=origin)).status_code == 200


@ORIGINS
async def test_another_site_is_refused_whatever_its_origin(
    listed: str, page: Page, database_url: str, origin: dict[str, str]
) -> None:
    before = await contents(database_url)
    headers = page.csrf | origin | {"Sec-Fetch-Site": "cross-site"}
    for method, path, body, _ in UNSAFE:
        assert outcome(await send(page, method, path, body, headers)) == CSRF_FAILED
    assert await contents(database_url) == before
    # Links on other sites may lead here, because such requests only read.
    assert (await page.get(ME, headers=headers)).status_code == 200


async def test_outside_development_the_own_origin_is_encrypted(
    ada: Actor, database_url: str
) -> None:
    async with configured_client(
        database_url, base_url="https://api.example.com", environment="staging"
    ) as client:
        page = await sign_in_by_cookie(client)
        for origin, expected in (
            ("https://api.example.com", (201, None)),
            ("http://api.example.com", CSRF_FAILED),
            ("https://example.com", CSRF_FAILED),
            ("https://www.example.com", CSRF_FAILED),
            ("https://api.example.com:8443", CSRF_FAILED),
        ):
            headers = page.csrf | {"Origin": origin}
            answer = await page.post(ITEMS, json=TEA, headers=headers)
            assert outcome(answer) == expected, origin


async def test_where_every_origin_is_listed(app: FastAPI, context: Context, page: Page) -> None:
    # Settings allow `*` in development and test only; it never matches the origin `null`.
    configure(app, context, cors_origins=("*",))
    for origin, expected in (("http://any.example", (201, None)), ("null", CSRF_FAILED)):
        headers = page.csrf | {"Origin": origin}
        assert outcome(await page.post(ITEMS, json=TEA, headers=headers)) == expected


# --- Signing in


@pytest.mark.parametrize(
    "headers",
    [*({"Origin": each} for each in FOREIGN), {"Sec-Fetch-Site": "cross-site"}],
    ids=[*FOREIGN, "cross-site"],
)
async def test_no_other_site_signs_anybody_in(
    ada: Actor, client: Client, database_url: str, headers: dict[str, str]
) -> None:
    before = await contents(database_url)
    for body in (
        {"data": {"username": "ada", "password": PASSWORD}},
        {"json": {"email": "ada", "password": PASSWORD}},
        {"json": {"email": "ada", "password": "wrong password"}},
        {"content": b"{"},
    ):
        refused = await client.post(COOKIE_LOGIN, headers=headers, **body)
        assert outcome(refused) == CSRF_FAILED
        assert not cookies_set(refused)
    assert await contents(database_url) == before


async def test_refused_sign_ins_are_no_guesses(ada: Actor, client: Client) -> None:
    body = {"email": "ada", "password": "wrong password"}
    for _ in range(6):
        await client.post(COOKIE_LOGIN, json=body, headers={"Origin": "null"})
    assert (await sign_in_by_cookie(client)).login["csrf_token"]


async def test_signing_in_needs_no_token_only_the_origin(page: Page) -> None:
    # No CSRF token is needed even if the page already has a session.
    again = await sign_in_by_cookie(page.client)
    assert again.session_id != page.session_id
    assert outcome(await page.post(ITEMS, json=TEA, headers=page.csrf)) == CSRF_FAILED
    assert (await page.post(ITEMS, json=TEA, headers=again.csrf)).status_code == 201


async def test_tokens_in_the_answer_go_to_any_origin(ada: Actor, client: Client) -> None:
    # Without our cookies a browser has nothing to misuse; CORS protects the response.
    headers = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    body = {"email": "ada", "password": PASSWORD}
    assert (await client.post(LOGIN, json=body, headers=headers)).status_code == 200


# --- Tokens in headers


async def test_bearer_tokens_need_no_protection(ada: Actor, client: Client) -> None:
    tokens = await sign_in(client, ada.email)
    headers = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    made = await ada.post(ITEMS, json=TEA, headers=headers)
    assert made.status_code == 201
    body = {"refresh_token": tokens["refresh_token"]}
    answer = await client.post(REFRESH, json=body, headers=headers)
    assert answer.status_code == 200
    body = {"refresh_token": answer.json()["refresh_token"]}
    assert (await client.post(LOGOUT, json=body, headers=headers)).status_code == 204


async def test_a_csrf_cookie_alone_changes_nothing(ada: Actor, page: Page) -> None:
    page.change_cookie(ACCESS, None)
    page.change_cookie(REFRESHING, None)
    assert (await page.post(ITEMS, json=TEA, headers=bearer(ada.token))).status_code == 201


async def test_a_bearer_token_beside_the_cookie_does_not_replace_the_csrf_token(
    ada: Actor, bob: Actor, page: Page
) -> None:
    for token in (ada.token, bob.token, page.cookie(ACCESS) or "", "broken"):
        headers = bearer(token)
        assert outcome(await page.post(ITEMS, json=TEA, headers=headers)) == CSRF_FAILED
        assert outcome(await page.post(LOGOUT, headers=headers)) == CSRF_FAILED
    made = await page.post(ITEMS, json=TEA, headers=bearer(bob.token) | page.csrf)
    assert made.json()["owner_id"] == str(ada.id)


# --- The order of the checks


async def test_who_is_calling_comes_first_and_what_they_may_last(
    page: Page, actor: ActorFactory, app: FastAPI
) -> None:
    body = {"email": "new@example.com"}
    # Ada, a member, may not create accounts.
    assert outcome(await page.post(USERS, json=body)) == CSRF_FAILED
    denied = await page.post(USERS, json=body, headers=page.csrf)
    assert outcome(denied) == (403, "PERMISSION_DENIED")
    # The CSRF token is checked before the body is validated and before the row is read.
    assert outcome(await page.post(ITEMS, json={"colour": "red"})) == CSRF_FAILED
    assert outcome(await page.post(ITEMS, content=b"{")) == CSRF_FAILED
    assert outcome(await page.delete(f"{ITEMS}/{uuid4()}")) == CSRF_FAILED
    for nothing in ("broken", None):
        page.change_cookie(ACCESS, nothing)
        assert outcome(await page.post(USERS, json=body)) == (401, "NOT_AUTHENTICATED")


async def test_a_session_that_is_over_comes_before_its_csrf_token(page: Page) -> None:
    token = page.cookie(ACCESS) or ""
    assert (await page.post(LOGOUT, headers=page.csrf)).status_code == 204
    headers = {"Cookie": f"{ACCESS}={token}", "Origin": "http://evil.example"}
    assert outcome(await page.post(ITEMS, json=TEA, headers=headers)) == NO_ACCESS
    # Routes that permit anonymous callers do not treat the request as anonymous.
    body = {"email": "new@example.com", "password": PASSWORD}
    assert outcome(await page.post(REGISTER, json=body, headers=headers)) == NO_ACCESS
