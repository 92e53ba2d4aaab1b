"""Sign-out by any valid part of a session."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from backend.core.context import Context
from backend.db.base import utc_now
from backend.modules.auth.tokens import issuer_of
from tests.actors import PASSWORD, Actor, Client
from tests.sessions import (
    LOGOUT,
    LOGOUT_ALL,
    ME,
    NO_ACCESS,
    NO_REFRESH,
    REFRESH,
    access,
    bearer,
    execute,
    outcome,
    refreshed,
    sign_in,
    stored,
)
from tests.web import (
    ACCESS,
    CSRF,
    CSRF_FAILED,
    REFRESHING,
    Page,
    assert_cleared,
    configured_client,
    cookies_set,
    sign_in_by_cookie,
)

REGISTER = "/api/v1/auth/register"
DONE = (204, None)
NOBODY = (401, "NOT_AUTHENTICATED")
FAILING_COMMIT = """
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'too late' USING ERRCODE = 'query_canceled'; END $$;
    CREATE CONSTRAINT TRIGGER fails AFTER UPDATE ON sessions DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION fail()
"""
EXPIRED = (401, "TOKEN_EXPIRED")


async def is_over(url: str, session_id: str) -> bool:
    return (await stored(url, session_id))["revoked_at"] is not None


async def recorded(url: str, session_id: str) -> list[dict[str, Any]]:
    """Return the audit events of the end of this session."""
    statement = """
        SELECT actor_id, outcome FROM audit_events
        WHERE action = 'auth.logout' AND target_id = %s
    """
    return await execute(url, statement, [session_id])


def expired(context: Context, user_id: UUID, session_id: str) -> str:
    """Return an access token of this session that expired an hour ago."""
    issued = utc_now() - timedelta(hours=2)
    return issuer_of(context).issue(user_id, UUID(session_id), 0, issued=issued, ttl=3600)


# --- By cookies


@pytest.mark.parametrize("left", ["both", "access only", "refresh only"])
async def test_by_the_cookies_that_are_left(
    ada: Actor, page: Page, client: Client, database_url: str, left: str
) -> None:
    token = page.cookie(ACCESS) or ""
    for name in {"access only": [REFRESHING], "refresh only": [ACCESS]}.get(left, []):
        page.change_cookie(name, None)
    answer = await page.post(LOGOUT, headers=page.csrf)
    assert outcome(answer) == DONE
    assert_cleared(answer)
    assert not page.client.cookies
    assert await is_over(database_url, page.session_id)
    assert await recorded(database_url, page.session_id) == [
        {"actor_id": ada.id, "outcome": "success"}
    ]
    # Copies of the tokens are invalid at once, too.
    assert await access(client, token) == NO_ACCESS
    assert (await ada.get(ME)).status_code == 200


@pytest.mark.parametrize("spoiled", ["expired", "broken", "of nobody", ""])
async def test_when_the_access_token_is_good_no_more(
    ada: Actor, page: Page, context: Context, database_url: str, spoiled: str
) -> None:
    page.change_cookie(
        ACCESS,
        {
            "expired": expired(context, ada.id, page.session_id),
            "of nobody": expired(context, ada.id, str(UUID(int=0))),
        }.get(spoiled, spoiled),
    )
    answer = await page.post(LOGOUT, headers=page.csrf)
    assert outcome(answer) == DONE
    assert_cleared(answer)
    assert await is_over(database_url, page.session_id)


async def test_by_a_refresh_token_that_was_replaced(page: Page, database_url: str) -> None:
    token = page.cookie(REFRESHING)
    for _ in range(2):
        assert (await page.post(REFRESH, headers=page.csrf)).status_code == 200
    page.change_cookie(REFRESHING, token)
    page.change_cookie(ACCESS, None)
    assert outcome(await page.post(LOGOUT, headers=page.csrf)) == DONE
    assert await is_over(database_url, page.session_id)


async def test_the_cookie_counts_beside_anything_else(
    ada: Actor, bob: Actor, page: Page, client: Client, database_url: str
) -> None:
    tokens = await sign_in(client, ada.email)
    body = {"refresh_token": tokens["refresh_token"]}
    answer = await page.post(LOGOUT, json=body, headers=page.csrf | bearer(bob.token))
    assert outcome(answer) == DONE
    assert await is_over(database_url, page.session_id)
    assert (await bob.get(ME)).status_code == 200
    assert await access(client, tokens["access_token"]) == (200, None)


async def test_the_refresh_cookie_counts_beside_a_body(
    ada: Actor, page: Page, client: Client, database_url: str
) -> None:
    tokens = await sign_in(client, ada.email)
    page.change_cookie(ACCESS, None)
    body = {"refresh_token": tokens["refresh_token"]}
    assert outcome(await page.post(LOGOUT, json=body)) == CSRF_FAILED
    assert outcome(await page.post(LOGOUT, json=body, headers=page.csrf)) == DONE
    assert await is_over(database_url, page.session_id)
    assert await access(client, tokens["access_token"]) == (200, None)


@pytest.mark.parametrize("left", ["both", "refresh only", "expired"])
async def test_another_site_signs_nobody_out(
    ada: Actor, page: Page, context: Context, database_url: str, left: str
) -> None:
    if left != "both":
        access_token = expired(context, ada.id, page.session_id) if left == "expired" else None
        page.change_cookie(ACCESS, access_token)
    for headers in (
        {},
        {"X-CSRF-Token": "x"},
        page.csrf | {"Origin": "http://evil.example"},
        page.csrf | {"Sec-Fetch-Site": "cross-site"},
    ):
        refused = await page.post(LOGOUT, headers=headers)
        assert outcome(refused) == CSRF_FAILED
        assert not cookies_set(refused)
    assert not await is_over(database_url, page.session_id)
    assert outcome(await page.post(LOGOUT, headers=page.csrf)) == DONE


async def test_twice(page: Page, database_url: str) -> None:
    cookies = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
    headers = page.csrf | {"Cookie": cookies}
    assert outcome(await page.post(LOGOUT, headers=headers)) == DONE
    again = await page.post(LOGOUT, headers=headers)
    assert outcome(again) == NO_REFRESH
    assert_cleared(again)
    assert len(await recorded(database_url, page.session_id)) == 1


@pytest.mark.parametrize("name", [ACCESS, REFRESHING])
async def test_cookies_of_another_application_are_no_credential_and_stay(
    client: Client, name: str
) -> None:
    refused = await client.post(LOGOUT, headers={"Cookie": f"{name}=broken"})
    assert outcome(refused) == NOBODY
    assert "set-cookie" not in refused.headers


async def test_an_expired_access_cookie_alone(
    ada: Actor, page: Page, context: Context, database_url: str
) -> None:
    page.change_cookie(ACCESS, expired(context, ada.id, page.session_id))
    page.change_cookie(REFRESHING, None)
    refused = await page.post(LOGOUT, headers=page.csrf)
    assert outcome(refused) == EXPIRED
    assert_cleared(refused)


async def test_a_csrf_cookie_is_no_credential(page: Page) -> None:
    page.change_cookie(ACCESS, None)
    page.change_cookie(REFRESHING, None)
    refused = await page.post(LOGOUT, headers=page.csrf)
    assert outcome(refused) == NOBODY
    assert not cookies_set(refused)
    assert page.cookie(CSRF) is not None


async def test_a_body_modes_refresh_token_is_none_in_a_cookie(
    ada: Actor, client: Client, database_url: str
) -> None:
    tokens = await sign_in(client, ada.email)
    response = await client.get(ME, headers={"Cookie": f"{ACCESS}={tokens['access_token']}"})
    csrf = response.headers["x-csrf-token"]
    cookies = f"{REFRESHING}={tokens['refresh_token']}; {CSRF}={csrf}"
    refused = await client.post(LOGOUT, headers={"Cookie": cookies, "X-CSRF-Token": csrf})
    assert outcome(refused) == NO_REFRESH
    assert_cleared(refused)
    assert not await is_over(database_url, tokens["session_id"])


async def test_outside_development(ada: Actor, database_url: str) -> None:
    async with configured_client(
        database_url, base_url="https://testserver", environment="staging"
    ) as client:
        page = await sign_in_by_cookie(client)
        page.change_cookie("__Host-access_token", None)
        left = await page.post(LOGOUT, headers=page.csrf)
        assert outcome(left) == DONE
        names = {"__Host-access_token", "__Secure-refresh_token", "__Host-csrf_token"}
        assert_cleared(left, names)
        # Browsers ignore cookies with these prefixes, and their deletion, without these attributes.
        for name, cookie in cookies_set(left).items():
            assert "secure" in cookie.attributes
            assert (cookie.attributes["path"] == "/") == name.startswith("__Host-")
            assert "domain" not in cookie.attributes


# --- By tokens


@pytest.mark.parametrize("by", ["access", "refresh", "both", "expired and refresh", "replaced"])
async def test_by_tokens(
    ada: Actor, client: Client, context: Context, database_url: str, by: str
) -> None:
    tokens = await sign_in(client, ada.email)
    session_id = tokens["session_id"]
    body = {"refresh_token": tokens["refresh_token"]}
    headers = bearer(tokens["access_token"])
    old = bearer(expired(context, ada.id, session_id))
    if by == "replaced":
        await refreshed(client, (await refreshed(client, body["refresh_token"]))["refresh_token"])
    sent: dict[str, Any] = {
        "access": {"headers": headers},
        "refresh": {"json": body},
        "both": {"headers": headers, "json": body},
        "expired and refresh": {"headers": old, "json": body},
        "replaced": {"json": body},
    }[by]
    answer = await client.post(LOGOUT, **sent)
    assert outcome(answer) == DONE
    assert not cookies_set(answer)
    assert await is_over(database_url, session_id)
    assert await recorded(database_url, session_id) == [{"actor_id": ada.id, "outcome": "success"}]
    assert await access(client, tokens["access_token"]) == NO_ACCESS
    assert outcome(await client.post(REFRESH, json=body)) == NO_REFRESH
    assert (await ada.get(ME)).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [{}, {"json": {}}, {"json": {"refresh_token": None}}, {"json": {"refresh_token": ""}}],
    ids=["no body", "empty body", "null", "empty token"],
)
async def test_by_nothing(client: Client, sent: dict[str, Any]) -> None:
    refused = await client.post(LOGOUT, **sent)
    assert outcome(refused) == NOBODY
    assert not cookies_set(refused)


async def test_by_what_is_no_token(ada: Actor, client: Client, context: Context) -> None:
    old = bearer(expired(context, ada.id, str(ada.session_id)))
    attempts: list[tuple[httpx.Response, tuple[int, str]]] = [
        (await client.post(LOGOUT, headers=bearer("broken")), NO_ACCESS),
        (await client.post(LOGOUT, headers={"Authorization": "Basic x"}), NO_ACCESS),
        (await client.post(LOGOUT, headers=old), EXPIRED),
        (await client.post(LOGOUT, json={"refresh_token": "broken"}), NO_REFRESH),
        (await client.post(LOGOUT, json={"refresh_token": ada.token}), NO_REFRESH),
        (await client.post(LOGOUT, json={"refresh_token": str(ada.session_id)}), NO_REFRESH),
        (await client.post(LOGOUT, json={"token": "x"}), (422, "VALIDATION_ERROR")),
    ]
    for answer, expected in attempts:
        assert outcome(answer) == expected
        assert not cookies_set(answer)
    assert (await ada.get(ME)).status_code == 200


async def test_a_web_modes_refresh_token_is_none_in_a_body(
    page: Page, client: Client, database_url: str
) -> None:
    body = {"refresh_token": page.cookie(REFRESHING)}
    assert outcome(await client.post(LOGOUT, json=body)) == NO_REFRESH
    assert not await is_over(database_url, page.session_id)


# --- All sessions of the account


async def test_everywhere_by_cookie(
    ada: Actor, bob: Actor, page: Page, client: Client, database_url: str
) -> None:
    other = await sign_in(client, ada.email)
    answer = await page.post(LOGOUT_ALL, headers=page.csrf)
    assert outcome(answer) == DONE
    assert_cleared(answer)
    assert not page.client.cookies
    for session_id in (page.session_id, other["session_id"], str(ada.session_id)):
        assert await is_over(database_url, session_id)
    assert outcome(await ada.get(ME)) == NO_ACCESS
    assert (await bob.get(ME)).status_code == 200


async def test_everywhere_by_token_clears_nothing(ada: Actor, page: Page) -> None:
    answer = await ada.post(LOGOUT_ALL)
    assert outcome(answer) == DONE
    assert not cookies_set(answer)
    # The page gets a 401, its cookies are cleared, and the user can sign in again.
    assert outcome(await page.get(ME)) == NO_ACCESS
    assert_cleared(await page.post(REFRESH, headers=page.csrf))
    assert (await sign_in_by_cookie(page.client)).login["csrf_token"]


async def test_what_was_not_stored_clears_nothing(own_database_url: str) -> None:
    async with configured_client(own_database_url) as client:
        ada = {"email": "ada@example.com", "password": PASSWORD, "username": "ada"}
        assert (await client.post(REGISTER, json=ada)).status_code == 201
        page = await sign_in_by_cookie(client)
        await execute(own_database_url, FAILING_COMMIT)
        for path in (LOGOUT, LOGOUT_ALL):
            failed = await page.post(path, headers=page.csrf)
            assert outcome(failed) == (503, "SERVICE_UNAVAILABLE")
            assert not cookies_set(failed)
        assert not await is_over(own_database_url, page.session_id)
        await execute(own_database_url, "DROP TRIGGER fails ON sessions")
        assert outcome(await page.post(LOGOUT_ALL, headers=page.csrf)) == DONE


async def test_sessions_end_at_once_although_concurrent_requests_share_reads(
    client: Client, ada: Actor, context: Context
) -> None:
    """While other requests are authenticated, a session is refused in its very next request."""
    over = asyncio.Event()

    async def other() -> None:
        while not over.is_set():
            assert await access(client, ada.token) == (200, None)

    async def leaving() -> None:
        tokens = await sign_in(client, ada.email)
        headers = bearer(tokens["access_token"])
        assert (await client.post(LOGOUT, headers=headers)).status_code == 204
        assert await access(client, tokens["access_token"]) == NO_ACCESS

    others = [asyncio.create_task(other()) for _ in range(8)]
    for _ in range(3):
        await asyncio.gather(*(leaving() for _ in range(4)))
    over.set()
    await asyncio.gather(*others)
