"""Each refresh token has one successor, and reuse ends the session."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from backend.core.context import Context
from backend.modules.auth import rotation
from backend.modules.auth.refresh_tokens import read_token
from backend.modules.auth.tokens import issuer_of
from tests.actors import Actor, Client
from tests.modules.auth.conftest import Configure
from tests.sessions import (
    ME,
    NO_ACCESS,
    NO_REFRESH,
    REUSED,
    SESSIONS,
    Tokens,
    access,
    age,
    bearer,
    claims,
    execute,
    outcome,
    raw,
    refresh,
    refreshed,
    reuse_events,
    stored,
)
from tests.statements import Statements

MEMBERS = {"access_token", "token_type", "expires_in", "refresh_token", "session_id"}
GOOD = (200, None)


async def test_a_refresh_can_be_watched_with_tokens_of_a_second(
    opened: Tokens, client: Client, configured: Configure
) -> None:
    configured(access_token_ttl=1)
    tokens = await refreshed(client, opened["refresh_token"])
    assert tokens["expires_in"] == 1
    await asyncio.sleep(1)
    expired = await client.get(ME, headers=bearer(tokens["access_token"]))
    assert outcome(expired) == (401, "TOKEN_EXPIRED")
    answer = await refresh(client, tokens["refresh_token"], access=tokens["access_token"])
    assert outcome(answer) == GOOD
    assert answer.json()["access_token"] != tokens["access_token"]


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
    # Access tokens of former generations remain valid until they expire.
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


@pytest.mark.parametrize(("times", "expected"), [(1, GOOD), (2, REUSED)])
async def test_another_server_is_quicker(
    opened: Tokens,
    client: Client,
    context: Context,
    database_url: str,
    statements: Statements,
    times: int,
    expected: Any,
) -> None:
    rotated = [opened["refresh_token"]]

    async def meanwhile() -> None:
        # Bypasses the queue of this process, as another process does.
        for _ in range(times):
            found = await rotation._refreshed(context, read_token(context, rotated[-1]), "body")
            assert found is not None
            rotated.append(found.refresh_token)

    statements.before("UPDATE sessions", meanwhile)
    answer = await refresh(client, opened["refresh_token"])
    assert outcome(answer) == expected
    row = await stored(database_url, opened["session_id"])
    assert row["generation"] == times
    assert answer.json().get("refresh_token") == (rotated[1] if times == 1 else None)


async def test_the_session_ends_meanwhile(
    opened: Tokens, client: Client, database_url: str, statements: Statements
) -> None:
    async def meanwhile() -> None:
        await execute(database_url, "UPDATE sessions SET revoked_at = now()")

    statements.before("UPDATE sessions", meanwhile)
    assert outcome(await refresh(client, opened["refresh_token"])) == NO_REFRESH
    assert (await stored(database_url, opened["session_id"]))["generation"] == 0


@pytest.mark.parametrize(("passed", "expected"), [(5, GOOD), (15, REUSED)])
async def test_the_grace_ends(
    opened: Tokens, client: Client, database_url: str, passed: int, expected: Any
) -> None:
    await refreshed(client, opened["refresh_token"])
    await age(database_url, passed)
    assert outcome(await refresh(client, opened["refresh_token"])) == expected


async def test_the_grace_is_a_setting(
    opened: Tokens, client: Client, database_url: str, configured: Configure
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
    (event,) = await reuse_events(database_url)
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
    assert len(await reuse_events(database_url)) == 1
