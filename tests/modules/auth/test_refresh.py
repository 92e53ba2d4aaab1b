"""Refreshing a session: one successor for each token, and the end for one that is reused."""

import asyncio
import string
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI

from backend.core.context import Context
from backend.modules.auth.settings import AuthSettings
from backend.modules.auth.tokens import issuer_of
from tests.actors import PASSWORD, Actor, Client
from tests.sessions import (
    LOGOUT,
    LOGOUT_ALL,
    ME,
    NO_ACCESS,
    NO_REFRESH,
    REFRESH,
    REUSED,
    SESSIONS,
    Tokens,
    access,
    age,
    bearer,
    claims,
    outcome,
    raw,
    refresh,
    refreshed,
    reuses,
    sign_in,
    spelled,
    stored,
)

DAY = 86_400
ALPHABET = f"{string.ascii_uppercase}{string.ascii_lowercase}{string.digits}-_"
MEMBERS = {"access_token", "token_type", "expires_in", "refresh_token", "session_id"}
GOOD = (200, None)


@pytest.fixture
async def opened(ada: Actor, client: Client) -> Tokens:
    """A session of Ada's, beside the one she has already."""
    return await sign_in(client, ada.email)


@pytest.fixture
def configured(app: FastAPI, context: Context) -> Callable[..., Context]:
    """`configured(refresh_grace=0)`: the application with these settings of auth."""

    def configure(**changes: Any) -> Context:
        settings = context.settings_of(AuthSettings).model_copy(update=changes)
        changed = replace(
            context, module_settings={**context.module_settings, AuthSettings: settings}
        )
        app.state.context = changed
        return changed

    return configure


async def is_untouched(url: str, client: Client, token: str) -> None:
    """The session of this token, which is the present one, has neither rotated nor ended."""
    content = raw(token)
    row = await stored(url, UUID(bytes=content[:16]))
    assert (row["revoked_at"], row["generation"]) == (None, int.from_bytes(content[16:20], "big"))
    assert await reuses(url) == []
    assert outcome(await refresh(client, token)) == GOOD


async def test_the_answer(opened: Tokens, client: Client) -> None:
    answer = await refresh(client, opened["refresh_token"])
    assert answer.status_code == 200
    tokens = answer.json()
    assert tokens.keys() == opened.keys() == MEMBERS
    assert (tokens["token_type"], tokens["expires_in"]) == ("bearer", 1800)
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    assert len(raw(tokens["refresh_token"])[20:52]) * 8 == 256


async def test_the_session_stays_and_all_else_is_new(
    opened: Tokens, client: Client, database_url: str
) -> None:
    held = [opened]
    for _ in range(4):
        held.append(await refreshed(client, held[-1]["refresh_token"]))
    assert len({each["refresh_token"] for each in held}) == 5
    assert len({claims(each["access_token"])["jti"] for each in held}) == 5
    assert {each["session_id"] for each in held} == {opened["session_id"]}
    assert {claims(each["access_token"])["sid"] for each in held} == {opened["session_id"]}
    assert len({claims(each["access_token"])["sub"] for each in held}) == 1
    # Those of former generations are good until they expire.
    for each in held:
        assert await access(client, each["access_token"]) == GOOD
    assert (await stored(database_url, opened["session_id"]))["generation"] == 4


async def test_the_former_access_token_ends_with_its_time(
    opened: Tokens, ada: Actor, client: Client, context: Context
) -> None:
    issued = datetime.now(UTC) - timedelta(seconds=61)
    session_id = UUID(opened["session_id"])
    former = issuer_of(context).issue(ada.id, session_id, 0, issued=issued, ttl=60)
    await refreshed(client, opened["refresh_token"])
    assert await access(client, former) == (401, "TOKEN_EXPIRED")


async def test_it_is_a_use_of_the_session(
    opened: Tokens, ada: Actor, client: Client, database_url: str
) -> None:
    await age(database_url, 3600)
    await refreshed(client, opened["refresh_token"])
    row, other = (await ada.get(SESSIONS)).json()["data"]
    assert row["id"] == opened["session_id"]
    assert row["last_used_at"] > row["created_at"]
    assert row["expires_at"] > other["expires_at"]
    assert other["last_used_at"] == other["created_at"]


async def test_the_predecessor_yields_the_same_successor(
    opened: Tokens, client: Client, database_url: str
) -> None:
    first = await refreshed(client, opened["refresh_token"])
    before = await stored(database_url, opened["session_id"])
    for _ in range(3):
        again = await refreshed(client, opened["refresh_token"])
        assert again["refresh_token"] == first["refresh_token"]
        assert claims(again["access_token"])["jti"] == claims(first["access_token"])["jti"]
        assert await access(client, again["access_token"]) == GOOD
    assert await stored(database_url, opened["session_id"]) == before
    await refreshed(client, first["refresh_token"])


async def test_many_tabs_at_once(opened: Tokens, client: Client, database_url: str) -> None:
    answers = await asyncio.gather(*(refresh(client, opened["refresh_token"]) for _ in range(20)))
    assert [outcome(answer) for answer in answers] == [GOOD] * 20
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert len({claims(answer.json()["access_token"])["jti"] for answer in answers}) == 1
    assert (await stored(database_url, opened["session_id"]))["generation"] == 1
    await refreshed(client, answers[0].json()["refresh_token"])


@pytest.mark.parametrize(("passed", "expected"), [(5, GOOD), (15, REUSED)])
async def test_the_grace_ends(
    opened: Tokens, client: Client, database_url: str, passed: int, expected: Any
) -> None:
    await refreshed(client, opened["refresh_token"])
    await age(database_url, passed)
    assert outcome(await refresh(client, opened["refresh_token"])) == expected


async def test_the_grace_is_a_setting(
    opened: Tokens, client: Client, database_url: str, configured: Callable[..., Context]
) -> None:
    configured(refresh_grace=60)
    first = await refreshed(client, opened["refresh_token"])
    await age(database_url, 50)
    again = await refreshed(client, opened["refresh_token"])
    assert again["refresh_token"] == first["refresh_token"]
    configured(refresh_grace=0)
    assert outcome(await refresh(client, opened["refresh_token"])) == REUSED


@pytest.mark.parametrize(
    ("old", "passed"),
    [(0, 11), (1, 11), (2, 11), (0, 0), (1, 0)],
    ids=["two-generations", "one-generation", "predecessor", "two-in-grace", "one-in-grace"],
)
async def test_a_reused_token_ends_its_session(
    opened: Tokens, ada: Actor, bob: Actor, client: Client, database_url: str, old: int, passed: int
) -> None:
    held = [opened]
    for _ in range(3):
        held.append(await refreshed(client, held[-1]["refresh_token"]))
    await age(database_url, passed)
    answer = await refresh(client, held[old]["refresh_token"])
    assert outcome(answer) == REUSED
    assert answer.headers["cache-control"] == "no-store"
    for each in held:
        assert await access(client, each["access_token"]) == NO_ACCESS
        assert outcome(await refresh(client, each["refresh_token"])) == NO_REFRESH
    assert (await stored(database_url, opened["session_id"]))["revoked_at"]
    for other in (ada, bob):
        assert (await other.get(ME)).status_code == 200
    (event,) = await reuses(database_url)
    assert (event["actor_id"], event["outcome"]) == (ada.id, "denied")
    assert (event["target_type"], event["target_id"]) == ("session", opened["session_id"])
    assert event["request_id"] == answer.headers["x-request-id"]


async def test_reuse_at_once_is_told_once(
    opened: Tokens, client: Client, database_url: str
) -> None:
    current = opened
    for _ in range(2):
        current = await refreshed(client, current["refresh_token"])
    answers = await asyncio.gather(*(refresh(client, opened["refresh_token"]) for _ in range(10)))
    assert {outcome(answer) for answer in answers} <= {REUSED, NO_REFRESH}
    assert len(await reuses(database_url)) == 1


def flipped(token: str) -> list[str]:
    content = raw(token)
    return [
        spelled(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        for at in range(len(content))
    ]


async def test_a_changed_token_is_none(opened: Tokens, client: Client, database_url: str) -> None:
    token = opened["refresh_token"]
    for changed in flipped(token):
        assert outcome(await refresh(client, changed)) == NO_REFRESH
    await is_untouched(database_url, client, token)


async def test_another_spelling_is_none(opened: Tokens, client: Client, database_url: str) -> None:
    token = opened["refresh_token"]
    last = ALPHABET.index(token[-1])
    others = [token[:-1] + ALPHABET[last + step] for step in (1, 2, 3)]
    # So that the refusals are for the spelling, and for nothing else.
    assert [raw(other) for other in others] == [raw(token)] * 3
    others += [f"{token}=", f"{token}==", f" {token}", f"{token}\n", f"{token[:9]}\n{token[9:]}"]
    others += [token.replace("-", "+").replace("_", "/") + "="]
    for other in others:
        assert outcome(await refresh(client, other)) == NO_REFRESH, other
    await is_untouched(database_url, client, token)


async def test_garbage_is_none(opened: Tokens, client: Client, database_url: str) -> None:
    token = opened["refresh_token"]
    garbage = ["", " ", "x", "null", opened["access_token"], opened["session_id"], token * 10]
    garbage += ["A" * 91, "\N{GRINNING FACE}" * 91, "\u0661" * 91, "x" * 1000, token + "A"]
    garbage += [token[:length] for length in (1, 16, 90)] + [token[1:], token[::-1]]
    for each in garbage:
        assert outcome(await refresh(client, each)) == NO_REFRESH, each
    for size in (1001, 100_000):
        assert outcome(await refresh(client, "x" * size)) == (422, "VALIDATION_ERROR")
    await is_untouched(database_url, client, token)


async def test_a_session_id_is_no_credential(
    opened: Tokens, ada: Actor, bob: Actor, client: Client, database_url: str
) -> None:
    current = (await refreshed(client, opened["refresh_token"]))["refresh_token"]
    foreign = raw((await sign_in(client, bob.email))["refresh_token"])
    session, secret = raw(current)[:16], raw(current)[20:52]
    for forged in (
        session + foreign[16:],
        session + bytes(4) + foreign[20:],
        session + raw(current)[16:20] + bytes(48),
        session + bytes(4) + secret + foreign[52:],
        foreign[:20] + raw(current)[20:],
        ada.session_id.bytes + raw(current)[16:],
        # What would be an old token, had it been made here.
        session + bytes(4) + bytes(32) + bytes(16),
    ):
        assert outcome(await refresh(client, spelled(forged))) == NO_REFRESH
    await is_untouched(database_url, client, current)


@pytest.mark.parametrize("body", [None, {}, {"refresh_token": None}], ids=["none", "empty", "null"])
async def test_without_a_token(client: Client, body: Any) -> None:
    answer = await client.post(REFRESH, json=body)
    assert outcome(answer) == NO_REFRESH
    assert outcome(await client.post(REFRESH)) == NO_REFRESH


@pytest.mark.parametrize(
    "body",
    [{"refresh_token": 5}, {"refresh_token": ["x"]}, {"refresh_token": True}, [], "x"],
    ids=repr,
)
async def test_a_body_of_another_kind(client: Client, body: Any) -> None:
    assert outcome(await client.post(REFRESH, json=body)) == (422, "VALIDATION_ERROR")


async def test_unknown_members(opened: Tokens, client: Client, database_url: str) -> None:
    token = opened["refresh_token"]
    for name in ("session_id", "grant_type", "access_token"):
        answer = await client.post(REFRESH, json={"refresh_token": token, name: "x"})
        assert outcome(answer) == (422, "VALIDATION_ERROR")
        assert token not in answer.text
    answer = await client.post(REFRESH, data={"refresh_token": token})
    assert answer.status_code == 415
    await is_untouched(database_url, client, token)


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
    assert await reuses(database_url) == []


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
    assert await reuses(database_url) == []


async def test_a_replaced_token_still_ends_its_session(opened: Tokens, client: Client) -> None:
    # Whoever wants out with what is left must not be kept in.
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
    ada: Actor, client: Client, database_url: str, configured: Callable[..., Context]
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
