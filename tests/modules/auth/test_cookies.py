"""Cookie mode: sessions in cookies that scripts cannot read."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI

from backend.core.context import Context
from backend.db.base import utc_now
from backend.modules.auth.tokens import issuer_of
from tests.actors import PASSWORD, Actor, Client
from tests.sessions import (
    LOGIN,
    LOGOUT_ALL,
    ME,
    NO_ACCESS,
    NO_REFRESH,
    REFRESH,
    REUSED,
    SESSIONS,
    age,
    bearer,
    claims,
    execute,
    outcome,
    sign_in,
    stored,
)
from tests.web import (
    ACCESS,
    ALLOWED_ORIGIN,
    COOKIE_LOGIN,
    COOKIES,
    CSRF,
    CSRF_FAILED,
    REFRESHING,
    Page,
    SetCookie,
    assert_cleared,
    configured_client,
    cookies_set,
    sign_in_by_cookie,
)

ITEMS = "/api/v1/items"
PUBLIC = "/api/v1/articles"
Outcome = tuple[int, str]
COOKIE_FIELDS = {"token_type", "expires_in", "session_id", "csrf_token"}
DAY = 86_400
TEA = {"title": "Tea"}
READABLE = {"path": "/", "samesite": "Lax"}
HIDDEN = {**READABLE, "httponly": ""}
FOR_REFRESHING = {"path": "/api/v1/auth", "samesite": "Strict", "httponly": ""}
LOCAL = {ACCESS: HIDDEN, REFRESHING: FOR_REFRESHING, CSRF: READABLE}
SECURE = {
    "__Host-access_token": {**HIDDEN, "secure": ""},
    "__Secure-refresh_token": {**FOR_REFRESHING, "secure": ""},
    "__Host-csrf_token": {**READABLE, "secure": ""},
}
ENVIRONMENTS = pytest.mark.parametrize(
    ("environment", "expected"),
    [("development", LOCAL), ("test", LOCAL), ("staging", SECURE), ("production", SECURE)],
    ids=["development", "test", "staging", "production"],
)


def attributes_of(cookies: dict[str, SetCookie]) -> dict[str, dict[str, str]]:
    """Return all attributes except those that set a cookie's lifetime."""
    return {
        name: {k: v for k, v in each.attributes.items() if k not in ("max-age", "expires")}
        for name, each in cookies.items()
    }


def expired(context: Context, page: Page, user_id: UUID) -> str:
    """Return this page's access token as issued two hours ago, so that it has expired."""
    issued = utc_now() - timedelta(hours=2)
    session_id = UUID(page.session_id)
    token = issuer_of(context).issue(user_id, session_id, 0, issued=issued, ttl=3600)
    assert claims(token)["jti"] == claims(page.cookie(ACCESS) or "")["jti"]
    return token


async def sessions_of(url: str) -> int:
    (row,) = await execute(url, "SELECT count(*) AS n FROM sessions")
    count: int = row["n"]
    return count


# --- Signing in


@ENVIRONMENTS
async def test_the_cookies(
    ada: Actor, database_url: str, environment: str, expected: dict[str, dict[str, str]]
) -> None:
    async with configured_client(
        database_url, base_url="https://testserver", environment=environment
    ) as client:
        answer = await client.post(COOKIE_LOGIN, json={"email": "ada", "password": PASSWORD})
        assert answer.status_code == 200
        cookies = cookies_set(answer)
        assert attributes_of(cookies) == expected
        assert {each.attributes["max-age"] for each in cookies.values()} == {str(30 * DAY)}
        # The client accepts cookies of these names, and the same attributes clear them.
        csrf = {"X-CSRF-Token": answer.json()["csrf_token"]}
        assert (await client.post(ITEMS, json=TEA, headers=csrf)).status_code == 201
        left = await client.post("/api/v1/auth/logout", headers=csrf)
        assert left.status_code == 204
        assert attributes_of(cookies_set(left)) == expected
        assert_cleared(left, set(expected))
        assert not client.cookies
        assert outcome(await client.get(ME)) == (401, "NOT_AUTHENTICATED")


async def test_plain_names_open_nothing_outside_development(
    ada: Actor, page: Page, database_url: str
) -> None:
    # A page on a subdomain can set cookies of these names, but none with the prefix `__Host-`.
    async with configured_client(
        database_url, base_url="https://testserver", environment="staging"
    ) as client:
        client.cookies.update(page.client.cookies)
        assert outcome(await client.get(ME)) == (401, "NOT_AUTHENTICATED")
        assert outcome(await client.post(REFRESH, headers=page.csrf)) == NO_REFRESH


async def test_they_last_as_long_as_the_session(ada: Actor, database_url: str) -> None:
    async with configured_client(
        database_url, session_idle_ttl=1000, session_absolute_ttl=1200
    ) as client:
        page = await sign_in_by_cookie(client)
        first = await page.post(REFRESH, headers=page.csrf)
        await age(database_url, 600, page.session_id)
        later = await page.post(REFRESH, headers=page.csrf)
    for answer, most in ((first, 1000), (later, 600)):
        (lasts,) = {int(each.attributes["max-age"]) for each in cookies_set(answer).values()}
        assert 0 < lasts <= most
        # The cookie outlives the access token: an expired token is sent and gets a 401.
        assert answer.json()["expires_in"] <= lasts


async def test_no_token_is_in_the_answer(ada: Actor, client: Client, database_url: str) -> None:
    answer = await client.post(COOKIE_LOGIN, json={"email": "ada", "password": PASSWORD})
    body, cookies = answer.json(), cookies_set(answer)
    assert body.keys() == COOKIE_FIELDS
    assert (body["token_type"], body["expires_in"]) == ("bearer", 1800)
    assert body["csrf_token"] == cookies[CSRF].value
    assert claims(cookies[ACCESS].value)["sid"] == body["session_id"]
    assert (await stored(database_url, body["session_id"]))["transport"] == "cookie"
    for name in (ACCESS, REFRESHING):
        assert cookies[name].value not in answer.text
        assert cookies[name].value not in cookies[CSRF].value
    assert answer.headers["cache-control"] == "no-store"


async def test_by_a_form(ada: Actor, client: Client) -> None:
    form = {"username": "ada", "password": PASSWORD, "grant_type": "password"}
    answer = await client.post(COOKIE_LOGIN, data=form)
    assert answer.status_code == 200
    assert answer.json().keys() == COOKIE_FIELDS
    assert cookies_set(answer).keys() == COOKIES
    assert (await client.get(ME)).json()["id"] == str(ada.id)


@pytest.mark.parametrize(
    "query",
    ["transport=header", "transport=", "transport=Cookie", "transport=cookie&transport=body"],
)
async def test_another_transport(ada: Actor, client: Client, database_url: str, query: str) -> None:
    before = await sessions_of(database_url)
    body = {"email": "ada", "password": PASSWORD}
    refused = await client.post(f"{LOGIN}?{query}", json=body)
    assert outcome(refused) == (422, "VALIDATION_ERROR")
    assert [each["field"] for each in refused.json()["errors"]] == ["query.transport"]
    assert not cookies_set(refused)
    assert await sessions_of(database_url) == before


async def test_a_refused_sign_in_sets_none(ada: Actor, page: Page, client: Client) -> None:
    for caller in (client, page):
        wrong = {"email": "ada", "password": "wrong password"}
        refused = await caller.post(COOKIE_LOGIN, json=wrong)
        assert outcome(refused) == (401, "INVALID_CREDENTIALS")
        assert not cookies_set(refused)
    assert (await page.get(ME)).status_code == 200


async def test_the_other_transport_sets_none(ada: Actor, client: Client) -> None:
    for query in ("", "?transport=body"):
        body = {"email": "ada", "password": PASSWORD}
        answer = await client.post(f"{LOGIN}{query}", json=body)
        assert answer.json().keys() == COOKIE_FIELDS - {"csrf_token"} | {ACCESS, REFRESHING}
        assert not cookies_set(answer)
    assert not client.cookies


# --- Authenticated requests


async def test_the_cookie_says_who_is_calling(ada: Actor, page: Page) -> None:
    assert (await page.get(ME)).json()["id"] == str(ada.id)
    assert (await page.get(ITEMS)).status_code == 200
    rows = (await page.get(SESSIONS)).json()["data"]
    assert [row["id"] for row in rows if row["current"]] == [page.session_id]


async def test_it_says_so_whatever_else_is_sent(ada: Actor, bob: Actor, page: Page) -> None:
    me = await page.get(ME, headers=bearer(bob.token))
    assert me.json()["id"] == str(ada.id)


async def test_an_empty_cookie_is_none(bob: Actor, page: Page) -> None:
    page.change_cookie(ACCESS, "")
    assert outcome(await page.get(ME)) == (401, "NOT_AUTHENTICATED")
    assert (await page.get(PUBLIC)).status_code == 200
    assert (await page.get(ME, headers=bearer(bob.token))).json()["id"] == str(bob.id)


async def test_an_expired_access_token_is_told_and_refreshed(
    ada: Actor, page: Page, context: Context
) -> None:
    page.change_cookie(ACCESS, expired(context, page, ada.id))
    refused = await page.get(ME)
    assert outcome(refused) == (401, "TOKEN_EXPIRED")
    assert not cookies_set(refused)
    # A page that has just been loaded may have no other source of the CSRF token for refreshing.
    assert refused.headers["x-csrf-token"] == page.login["csrf_token"]
    assert (await page.post(REFRESH, headers=page.csrf)).status_code == 200
    assert (await page.get(ME)).status_code == 200


async def test_a_page_removes_the_cookies_of_a_session_that_ended_elsewhere(
    ada: Actor, page: Page, client: Client
) -> None:
    access = page.cookie(ACCESS)
    assert access is not None
    assert (await ada.post(LOGOUT_ALL)).status_code == 204
    for answer in (await page.get(ME), await page.get(PUBLIC), await page.post(ITEMS, json={})):
        assert outcome(answer) == (401, "INVALID_TOKEN")
        # A page on another host has no other source of the CSRF token for refreshing.
        assert answer.headers["x-csrf-token"] == page.login["csrf_token"]
    by_bearer = await client.get(ME, headers=bearer(access))
    assert outcome(by_bearer) == (401, "INVALID_TOKEN")
    assert "x-csrf-token" not in by_bearer.headers
    over = await page.post(REFRESH, headers=page.csrf)
    assert over.status_code == 401
    assert_cleared(over)
    assert (await page.get(PUBLIC)).status_code == 200
    assert outcome(await page.get(ME)) == (401, "NOT_AUTHENTICATED")


async def test_the_csrf_token_is_told_to_callers_by_cookie_only(
    ada: Actor, page: Page, client: Client, context: Context
) -> None:
    token = page.login["csrf_token"]
    me = await page.get(ME)
    unchanged = await page.get(ME, headers={"If-None-Match": me.headers.get("etag", "*")})
    for answer in (me, unchanged, await page.head(ME), await page.get(f"{ME}?fields=id")):
        assert answer.headers["x-csrf-token"] == token
    assert (await page.get(ME, headers=bearer(ada.token))).headers["x-csrf-token"] == token
    old = bearer(expired(context, page, ada.id))
    page_of_nobody = await client.get(ME, headers=old)
    assert outcome(page_of_nobody) == (401, "TOKEN_EXPIRED")
    for answer in (page_of_nobody, await ada.get(ME), await client.get(ME), await page.get(ITEMS)):
        assert "x-csrf-token" not in answer.headers


async def test_a_page_of_another_origin_may_read_it(ada: Actor, database_url: str) -> None:
    async with configured_client(database_url, cors_origins=(ALLOWED_ORIGIN,)) as client:
        client.headers["Origin"] = ALLOWED_ORIGIN
        page = await sign_in_by_cookie(client)
        me = await page.get(ME)
        assert me.headers["x-csrf-token"] == page.login["csrf_token"]
        assert me.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
        assert me.headers["access-control-allow-credentials"] == "true"
        exposed = me.headers["access-control-expose-headers"].lower().split(", ")
        assert "x-csrf-token" in exposed
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,x-csrf-token",
        }
        preflight = await client.options(ITEMS, headers=asked)
        allowed = preflight.headers["access-control-allow-headers"].lower().split(", ")
        assert {"content-type", "x-csrf-token"} <= set(allowed)
        denied = await client.get(ME, headers={"Origin": "http://localhost:3001"})
        assert not [name for name in denied.headers if name.startswith("access-control-")]


# --- Refreshing


async def test_a_refresh_sets_all_cookies_again(ada: Actor, page: Page, database_url: str) -> None:
    before = {name: page.cookie(name) for name in COOKIES}
    answer = await page.post(REFRESH, headers=page.csrf)
    assert answer.status_code == 200
    assert answer.json().keys() == COOKIE_FIELDS
    assert answer.json()["session_id"] == page.session_id
    assert attributes_of(cookies_set(answer)) == LOCAL
    after = {name: page.cookie(name) for name in COOKIES}
    assert after == {name: each.value for name, each in cookies_set(answer).items()}
    assert [name for name in COOKIES if before[name] == after[name]] == [CSRF]
    assert answer.json()["csrf_token"] == page.login["csrf_token"] == after[CSRF]
    for value in (after[ACCESS], after[REFRESHING]):
        assert value not in answer.text
    assert (await stored(database_url, page.session_id))["generation"] == 1
    again = await page.post(REFRESH, headers=page.csrf, json={})
    assert again.status_code == 200
    made = await page.post(ITEMS, json=TEA, headers=page.csrf)
    assert made.status_code == 201


async def test_several_tabs_at_once_get_the_same_cookies(page: Page) -> None:
    before = {name: page.cookie(name) for name in COOKIES}
    first = await page.post(REFRESH, headers=page.csrf)
    for name, value in before.items():
        page.change_cookie(name, value)
    second = await page.post(REFRESH, headers=page.csrf)
    for name in (REFRESHING, CSRF):
        assert cookies_set(first)[name].value == cookies_set(second)[name].value


async def test_the_cookie_counts_beside_a_body(ada: Actor, page: Page, client: Client) -> None:
    tokens = await sign_in(client, ada.email)
    for sent in (tokens["refresh_token"], "broken"):
        answer = await page.post(REFRESH, json={"refresh_token": sent}, headers=page.csrf)
        assert answer.json()["session_id"] == page.session_id
        assert answer.json().keys() == COOKIE_FIELDS
    body = {"refresh_token": tokens["refresh_token"]}
    assert (await client.post(REFRESH, json=body)).status_code == 200


async def reused(page: Page, url: str) -> Outcome:
    token, access = page.cookie(REFRESHING), page.cookie(ACCESS)
    await page.post(REFRESH, headers=page.csrf)
    page.change_cookie(REFRESHING, token)
    page.change_cookie(ACCESS, access)
    await age(url, 60, page.session_id)
    return REUSED


async def ended(page: Page, _: str) -> Outcome:
    cookies = page.cookies
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    other = Client(page.client._transport.app)  # type: ignore[attr-defined]  # an attribute of ASGITransport
    assert (await other.post("/api/v1/auth/logout", headers=headers | page.csrf)).is_success
    return NO_REFRESH


async def outlived(page: Page, url: str) -> Outcome:
    await age(url, 31 * DAY, page.session_id)
    return NO_REFRESH


async def broken(page: Page, _: str) -> Outcome:
    page.change_cookie(REFRESHING, "broken")
    return NO_REFRESH


async def of_two_sessions(page: Page, _: str) -> Outcome:
    access = page.cookie(ACCESS)
    other = await sign_in_by_cookie(page.client)
    page.change_cookie(ACCESS, access)
    page.login.update(other.login)
    return NO_ACCESS


async def of_the_other_mode(page: Page, _: str) -> Outcome:
    async with Client(page.client._transport.app) as client:  # type: ignore[attr-defined]  # an attribute of ASGITransport
        tokens = await sign_in(client, "ada")
        page.change_cookie(REFRESHING, tokens["refresh_token"])
        page.change_cookie(ACCESS, tokens["access_token"])
        response = await client.get(ME, headers={"Cookie": f"{ACCESS}={tokens['access_token']}"})
    page.login["csrf_token"] = response.headers["x-csrf-token"]
    page.change_cookie(CSRF, page.login["csrf_token"])
    return NO_REFRESH


@pytest.mark.parametrize(
    "spoil",
    [reused, ended, outlived, broken, of_two_sessions, of_the_other_mode],
    ids=lambda function: function.__name__,
)
async def test_when_there_is_no_refreshing_the_cookies_are_cleared(
    page: Page, database_url: str, spoil: Any
) -> None:
    expected = await spoil(page, database_url)
    refused = await page.post(REFRESH, headers=page.csrf)
    assert outcome(refused) == expected
    assert_cleared(refused)
    assert attributes_of(cookies_set(refused)) == LOCAL
    assert not page.client.cookies
    # The next request is anonymous, so the user can sign in again.
    assert (await page.get(PUBLIC)).status_code == 200
    assert (await sign_in_by_cookie(page.client)).session_id != page.session_id


@pytest.mark.parametrize("path", ["/api/v1/users/me", "/api/v1/auth/sessions/{own}"])
async def test_what_ends_ones_own_session_takes_its_cookies(page: Page, path: str) -> None:
    answer = await page.client.delete(path.format(own=page.session_id), headers=page.csrf)
    assert answer.status_code == 204
    assert_cleared(answer)


async def test_another_session_ends_without_ones_own_cookies(
    ada: Actor, page: Page, client: Client
) -> None:
    sessions = (await page.client.get("/api/v1/auth/sessions")).json()["data"]
    other = next(each["id"] for each in sessions if not each["current"])
    answer = await page.client.delete(f"/api/v1/auth/sessions/{other}", headers=page.csrf)
    assert (answer.status_code, answer.headers.get("set-cookie")) == (204, None)


async def test_without_a_cookie_there_is_none_to_clear(page: Page, client: Client) -> None:
    for body in (None, {"refresh_token": page.cookie(REFRESHING)}):
        refused = await client.post(REFRESH, json=body)
        assert outcome(refused) == NO_REFRESH
        assert not cookies_set(refused)
    assert (await page.post(REFRESH, headers=page.csrf)).status_code == 200


# --- A new SECRET_KEY


async def test_a_page_survives_a_change_of_the_key(
    page: Page, app: FastAPI, context: Context
) -> None:
    app.state.context = replace(context, secret_keys=(b"another", *context.secret_keys))
    # The token in the response must be the one in the cookie.
    assert await csrf_told(page) == page.login["csrf_token"] == page.cookie(CSRF)
    assert (await page.post(ITEMS, json=TEA, headers=page.csrf)).status_code == 201
    now = Page(page.client, (await page.post(REFRESH, headers=page.csrf)).json())
    assert now.login["csrf_token"] != page.login["csrf_token"]
    assert await csrf_told(now) == now.login["csrf_token"] == now.cookie(CSRF)
    assert (await now.post(ITEMS, json=TEA, headers=now.csrf)).status_code == 201
    assert outcome(await now.post(ITEMS, json=TEA, headers=page.csrf)) == CSRF_FAILED


async def csrf_told(page: Page) -> str:
    token: str = (await page.get(ME)).headers["x-csrf-token"]
    return token
