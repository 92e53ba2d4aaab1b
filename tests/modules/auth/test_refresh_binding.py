"""Refresh is bound to access token and transport, and tokens are not stored."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from structlog.typing import EventDict

from backend.core.context import Context
from backend.modules.auth.session_cookies import HEADER, csrf_token
from backend.modules.auth.tokens import issuer_of
from tests.actors import PASSWORD, Actor, Client
from tests.applications import make_context
from tests.sessions import (
    LOGIN,
    LOGOUT,
    NO_ACCESS,
    NO_REFRESH,
    REFRESH,
    REUSED,
    Tokens,
    claims,
    execute,
    outcome,
    raw,
    refresh,
    refreshed,
    reuse_events,
    sign_in,
    stored,
)

GOOD = (200, None)


async def test_the_access_token_of_the_same_generation(opened: Tokens, client: Client) -> None:
    held = [opened]
    for _ in range(3):
        former = held[-1]
        answer = await refresh(client, former["refresh_token"], access=former["access_token"])
        assert outcome(answer) == GOOD
        held.append(answer.json())
    # A predecessor is refreshed with the access token of its own generation; the access token in
    # the response belongs to the successor.
    answer = await refresh(client, held[2]["refresh_token"], access=held[2]["access_token"])
    assert answer.json()["refresh_token"] == held[3]["refresh_token"]
    assert (
        outcome(
            await refresh(client, held[3]["refresh_token"], access=answer.json()["access_token"])
        )
        == GOOD
    )


async def test_the_access_token_of_the_generation_before(opened: Tokens, client: Client) -> None:
    """Of two tabs with the same refresh token, one has refreshed; the other sends an old token."""
    second = await refreshed(client, opened["refresh_token"])
    answer = await refresh(client, second["refresh_token"], access=opened["access_token"])
    assert outcome(answer) == GOOD
    # A token from two generations back is rejected, but the session is not revoked.
    third = answer.json()
    late = await refresh(client, third["refresh_token"], access=opened["access_token"])
    assert outcome(late) == NO_ACCESS
    await refreshed(client, third["refresh_token"])


async def test_the_same_by_cookies(browser: Client, context: Context) -> None:
    held = [take_cookies(browser)]
    for _ in range(2):
        browser.cookies.update(held[-1])
        assert outcome(await browser.post(REFRESH)) == GOOD
        held.append(take_cookies(browser))
    for age, expected in ((2, NO_ACCESS), (1, GOOD)):
        shown = held[-1] | {"access_token": held[-1 - age]["access_token"]}
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in shown.items())}
        assert outcome(await browser.post(REFRESH, headers=headers)) == expected


async def test_it_may_have_expired(
    opened: Tokens, ada: Actor, client: Client, context: Context
) -> None:
    issued = datetime.now(UTC) - timedelta(days=7)
    session_id = UUID(opened["session_id"])
    expired = issuer_of(context).issue(ada.id, session_id, 0, issued=issued, ttl=60)
    assert outcome(await refresh(client, opened["refresh_token"], access=expired)) == GOOD


async def test_any_other_access_token_is_refused(
    opened: Tokens, ada: Actor, bob: Actor, client: Client, context: Context, database_url: str
) -> None:
    session_id = UUID(opened["session_id"])
    second = await refreshed(client, opened["refresh_token"])
    current = await refreshed(client, second["refresh_token"])
    now, elsewhere = datetime.now(UTC), make_context("postgresql://x", secret_key="y" * 32)
    wrong = [
        ada.token,
        bob.token,
        opened["access_token"],
        issuer_of(context).issue(ada.id, session_id, 3, issued=now, ttl=60),
        issuer_of(elsewhere).issue(ada.id, session_id, 2, issued=now, ttl=60),
        current["access_token"][:-2],
        current["refresh_token"],
        "x",
        "a.b.c",
    ]
    before = await stored(database_url, session_id)
    for token in wrong:
        answer = await refresh(client, current["refresh_token"], access=token)
        assert outcome(answer) == NO_ACCESS
        assert answer.headers["www-authenticate"].startswith("Bearer")
    # A predecessor in its grace period is rejected with the access token of a later generation.
    answer = await refresh(client, second["refresh_token"], access=current["access_token"])
    assert outcome(answer) == NO_ACCESS
    assert await stored(database_url, session_id) == before
    right = current["access_token"]
    assert outcome(await refresh(client, current["refresh_token"], access=right)) == GOOD


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic YTpi", "x", ""])
async def test_what_is_no_access_token(opened: Tokens, client: Client, header: str) -> None:
    body = {"refresh_token": opened["refresh_token"]}
    answer = await client.post(REFRESH, json=body, headers={"Authorization": header})
    assert outcome(answer) == NO_ACCESS
    await refreshed(client, opened["refresh_token"])


async def test_a_wrong_access_token_comes_before_reuse(
    opened: Tokens, ada: Actor, client: Client, database_url: str
) -> None:
    tokens = opened
    for _ in range(2):
        tokens = await refreshed(client, tokens["refresh_token"])
    for wrong in (ada.token, tokens["access_token"]):
        assert outcome(await refresh(client, opened["refresh_token"], access=wrong)) == NO_ACCESS
    assert await reuse_events(database_url) == []
    right = opened["access_token"]
    assert outcome(await refresh(client, opened["refresh_token"], access=right)) == REUSED
    assert outcome(await refresh(client, tokens["refresh_token"])) == NO_REFRESH


@pytest.fixture
async def browser(ada: Actor, client: Client) -> Client:
    """A client that holds a session of Ada's in its cookies."""
    body = {"email": ada.email, "password": PASSWORD}
    answer = await client.post(LOGIN, params={"transport": "cookie"}, json=body)
    assert answer.status_code == 200
    client.headers[HEADER] = answer.json()["csrf_token"]
    return client


def take_cookies(browser: Client) -> dict[str, str]:
    taken = {cookie.name: str(cookie.value) for cookie in browser.cookies.jar}
    browser.cookies.clear()
    return taken


async def test_a_cookies_token_is_refused_in_a_body(browser: Client, database_url: str) -> None:
    token = take_cookies(browser)["refresh_token"]
    assert outcome(await refresh(browser, token)) == NO_REFRESH
    assert outcome(await browser.post(LOGOUT, json={"refresh_token": token})) == NO_REFRESH
    browser.cookies.set("csrf_token", browser.headers[HEADER])
    browser.cookies.set("refresh_token", token)
    assert outcome(await browser.post(REFRESH)) == GOOD
    assert await reuse_events(database_url) == []


async def test_a_bodys_token_is_refused_in_a_cookie(
    opened: Tokens, client: Client, context: Context, database_url: str
) -> None:
    csrf = csrf_token(context, UUID(opened["session_id"]))
    cookies = f"refresh_token={opened['refresh_token']}; csrf_token={csrf}"
    headers = {"Cookie": cookies, HEADER: csrf}
    assert outcome(await client.post(REFRESH, headers=headers)) == NO_REFRESH
    assert outcome(await client.post(LOGOUT, headers=headers)) == NO_REFRESH
    assert await reuse_events(database_url) == []
    await refreshed(client, opened["refresh_token"])


async def test_the_cookie_counts_where_both_are_sent(
    browser: Client, app: FastAPI, ada: Actor
) -> None:
    async with Client(app) as elsewhere:
        other = await sign_in(elsewhere, ada.email)
    answer = await browser.post(REFRESH, json={"refresh_token": other["refresh_token"]})
    assert outcome(answer) == GOOD
    assert answer.json()["session_id"] != other["session_id"]
    take_cookies(browser)
    await refreshed(browser, other["refresh_token"])


async def everything_stored(url: str) -> str:
    """Return all rows of all tables as text, with bytes in hexadecimal."""
    tables = await execute(
        url, "SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public'"
    )
    found = [
        row["row"]
        for table in tables
        for row in await execute(url, f"SELECT t::text AS row FROM {table['name']} AS t")  # noqa: S608  # a table name from the catalog
    ]
    return "\n".join(found)


async def test_nothing_usable_is_stored(opened: Tokens, client: Client, database_url: str) -> None:
    held = [opened, await refreshed(client, opened["refresh_token"])]
    held.append(await refreshed(client, held[-1]["refresh_token"]))
    kept = await everything_stored(database_url)
    # Proves that a stored value would be found.
    assert opened["session_id"] in kept
    for tokens in held:
        content = raw(tokens["refresh_token"])
        for secret in (content[20:52], content[52:]):
            assert secret.hex() not in kept
            assert base64.b64encode(secret).decode().rstrip("=") not in kept
            assert base64.urlsafe_b64encode(secret).decode().rstrip("=") not in kept
        for text in (tokens["refresh_token"], tokens["access_token"]):
            assert text not in kept
            assert text.encode().hex() not in kept
        assert claims(tokens["access_token"])["jti"] not in kept


async def test_tokens_are_not_logged(
    opened: Tokens, client: Client, database_url: str, log: list[EventDict]
) -> None:
    received: list[Any] = [opened]
    for _ in range(2):
        received.append(await refreshed(client, received[-1]["refresh_token"]))
    first, last = opened["refresh_token"], received[-1]["refresh_token"]
    await refreshed(client, received[-2]["refresh_token"])
    await refresh(client, last[:-1])
    await refresh(client, last, access=opened["access_token"])
    for body in ({"refresh_token": [last]}, {"refresh_token": last, last: last}):
        answer = await client.post(REFRESH, json=body)
        assert answer.status_code == 422
        assert last not in answer.text
    assert outcome(await refresh(client, first)) == REUSED
    assert len([event for event in log if event["event"] == "request"]) == 8
    written = repr(log)
    for tokens in received:
        for secret in (tokens["refresh_token"], tokens["access_token"]):
            assert secret[:-1] not in written
