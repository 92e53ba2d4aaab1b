"""The lifetime of a session, and the events that end it earlier."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from tests.actors import PASSWORD, Actor, Client
from tests.modules.auth.conftest import Configure
from tests.sessions import (
    LOGOUT,
    LOGOUT_ALL,
    ME,
    NO_ACCESS,
    NO_REFRESH,
    SESSIONS,
    Tokens,
    access,
    age,
    bearer,
    claims,
    outcome,
    refresh,
    refreshed,
    reuse_events,
    sign_in,
    stored,
)

DAY = 86_400
GOOD = (200, None)


async def test_the_idle_age(opened: Tokens, client: Client, database_url: str) -> None:
    row = await stored(database_url, opened["session_id"])
    assert row["expires_at"] - row["last_used_at"] == timedelta(days=30)
    await age(database_url, 30 * DAY - 60)
    tokens = await refreshed(client, opened["refresh_token"])
    row = await stored(database_url, opened["session_id"])
    assert row["expires_at"] - row["last_used_at"] == timedelta(days=30)
    await age(database_url, 30 * DAY + 1)
    assert outcome(await refresh(client, tokens["refresh_token"])) == NO_REFRESH
    assert await access(client, tokens["access_token"]) == NO_ACCESS
    assert await reuse_events(database_url) == []


async def test_the_absolute_age(opened: Tokens, client: Client, database_url: str) -> None:
    tokens = opened
    for _ in range(4):
        await age(database_url, 22 * DAY)
        tokens = await refreshed(client, tokens["refresh_token"])
    row = await stored(database_url, opened["session_id"])
    assert row["expires_at"] == row["created_at"] + timedelta(days=90)
    await age(database_url, 2 * DAY - 60)
    tokens = await refreshed(client, tokens["refresh_token"])
    await age(database_url, 61)
    assert outcome(await refresh(client, tokens["refresh_token"])) == NO_REFRESH
    assert await access(client, tokens["access_token"]) == NO_ACCESS


async def test_tokens_end_with_their_session(
    opened: Tokens, client: Client, database_url: str
) -> None:
    tokens = opened
    for _ in range(4):
        await age(database_url, 90 * DAY / 4 - 25)
        tokens = await refreshed(client, tokens["refresh_token"])
    again = await refreshed(client, tokens["refresh_token"])
    for each in (again, await refreshed(client, tokens["refresh_token"])):
        assert 0 < each["expires_in"] <= 100
        found = claims(each["access_token"])
        assert found["exp"] - found["iat"] == each["expires_in"]


async def log_out(client: Client, tokens: Tokens) -> None:
    answer = await client.post(LOGOUT, headers=bearer(tokens["access_token"]))
    assert answer.status_code == 204


async def log_out_by_refresh_token(client: Client, tokens: Tokens) -> None:
    answer = await client.post(LOGOUT, json={"refresh_token": tokens["refresh_token"]})
    assert answer.status_code == 204


async def log_out_everywhere(client: Client, tokens: Tokens) -> None:
    answer = await client.post(LOGOUT_ALL, headers=bearer(tokens["access_token"]))
    assert answer.status_code == 204


async def end_by_id(client: Client, tokens: Tokens) -> None:
    address = f"{SESSIONS}/{tokens['session_id']}"
    answer = await client.delete(address, headers=bearer(tokens["access_token"]))
    assert answer.status_code == 204


Ending = Callable[[Client, Tokens], Awaitable[None]]


@pytest.mark.parametrize(
    "end",
    [log_out, log_out_by_refresh_token, log_out_everywhere, end_by_id],
    ids=lambda f: f.__name__,
)
async def test_a_session_that_was_ended(
    opened: Tokens, client: Client, database_url: str, end: Ending
) -> None:
    tokens = await refreshed(client, opened["refresh_token"])
    await end(client, tokens)
    for each in (opened, tokens):
        assert outcome(await refresh(client, each["refresh_token"])) == NO_REFRESH
        assert await access(client, each["access_token"]) == NO_ACCESS
    answer = await client.post(LOGOUT, json={"refresh_token": tokens["refresh_token"]})
    assert outcome(answer) == NO_REFRESH
    assert await reuse_events(database_url) == []


async def test_a_replaced_token_still_ends_its_session(opened: Tokens, client: Client) -> None:
    # Sign-out must work with the remaining token.
    tokens = await refreshed(client, opened["refresh_token"])
    await log_out_by_refresh_token(client, opened)
    assert outcome(await refresh(client, tokens["refresh_token"])) == NO_REFRESH


async def test_a_disabled_user(opened: Tokens, ada: Actor, admin: Actor, client: Client) -> None:
    where = f"/api/v1/users/{ada.id}"
    assert (await admin.patch(where, json={"is_active": False})).status_code == 200
    assert outcome(await refresh(client, opened["refresh_token"])) == NO_REFRESH
    assert (await admin.patch(where, json={"is_active": True})).status_code == 200
    assert outcome(await refresh(client, opened["refresh_token"])) == NO_REFRESH
    later = await sign_in(client, ada.email)
    await refreshed(client, later["refresh_token"])


async def test_a_deleted_user(opened: Tokens, ada: Actor, admin: Actor, client: Client) -> None:
    assert (await admin.delete(f"/api/v1/users/{ada.id}")).status_code == 204
    assert outcome(await refresh(client, opened["refresh_token"])) == NO_REFRESH


async def test_a_changed_password(opened: Tokens, ada: Actor, client: Client) -> None:
    other = await sign_in(client, ada.email)
    answer = await client.put(
        f"{ME}/password",
        json={"current_password": PASSWORD, "new_password": "a password of my own"},
        headers=bearer(opened["access_token"]),
    )
    assert answer.status_code == 204
    assert outcome(await refresh(client, other["refresh_token"])) == NO_REFRESH
    assert await access(client, other["access_token"]) == NO_ACCESS
    await refreshed(client, opened["refresh_token"])


async def test_too_many_sessions_end_those_unused_for_longest(
    ada: Actor, client: Client, database_url: str, configured: Configure
) -> None:
    configured(max_sessions_per_user=3)
    held = [await sign_in(client, ada.email) for _ in range(3)]
    assert (await ada.get(ME)).status_code == 401
    await age(database_url, 60)
    held[0] = await refreshed(client, held[0]["refresh_token"])
    held.append(await sign_in(client, ada.email))
    answers = [await access(client, each["access_token"]) for each in held]
    assert answers == [GOOD, NO_ACCESS, GOOD, GOOD]
    assert outcome(await refresh(client, held[1]["refresh_token"])) == NO_REFRESH
    rows = (await client.get(SESSIONS, headers=bearer(held[3]["access_token"]))).json()["data"]
    assert len(rows) == 3
