"""Concurrent refreshes on several workers, some of which are killed."""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import psycopg
import pytest

from tests.actors import PASSWORD
from tests.commands import eventually
from tests.processes import Server, served
from tests.raw_client import RawClient, RawResponse, call_all
from tests.sessions import (
    LOGIN,
    ME,
    NO_ACCESS,
    NO_REFRESH,
    REFRESH,
    REUSED,
    Tokens,
    claims,
    execute,
    raw,
    reuse_events,
)

pytestmark = pytest.mark.slow

GOOD = (200, None)
USERS, SESSIONS_EACH, TABS = 10, 20, 20
# Number of sessions that are refreshed in each round.
ROUNDS = (200, 40, 40)

Work = Callable[[RawClient], Awaitable[RawResponse]]


async def register(number: int, caller: RawClient) -> RawResponse:
    body = {"email": f"user{number}@example.com", "password": PASSWORD}
    return await caller.call("POST", "/api/v1/auth/register", body)


async def sign_in(number: int, caller: RawClient) -> RawResponse:
    body = {"email": f"user{number}@example.com", "password": PASSWORD}
    return await caller.call("POST", LOGIN, body)


async def refresh(tokens: Tokens, caller: RawClient, *, with_access: bool = False) -> RawResponse:
    body = {"refresh_token": tokens["refresh_token"]}
    bearer = tokens["access_token"] if with_access else None
    return await caller.call_with_retries("POST", REFRESH, body, bearer=bearer)


async def me(tokens: Tokens, caller: RawClient) -> RawResponse:
    return await caller.call("GET", ME, bearer=tokens["access_token"])


async def opened(server: Server, *, users: int, each: int) -> list[Tokens]:
    """Return the tokens of `each` sessions of each of `users` new accounts."""
    made = await call_all(server.url, [partial(register, number) for number in range(users)])
    assert {answer.status for answer in made} == {201}
    work = [partial(sign_in, number) for number in range(users)] * each
    answers = await call_all(server.url, work)
    assert {answer.outcome for answer in answers} == {GOOD}
    return [answer.body for answer in answers]


async def one_round(server: Server, held: list[Tokens], chance: random.Random) -> list[Tokens]:
    """Refresh every session in many tabs while a worker is killed; return the new tokens."""
    left = chance.randrange(1, len(held) * TABS)

    async def tab(tokens: Tokens, number: int, caller: RawClient) -> RawResponse:
        nonlocal left
        left -= 1
        if left == 0:
            server.kill_worker(chance.randrange(server.workers))
        return await refresh(tokens, caller, with_access=number % 2 == 0)

    work = [partial(tab, tokens, number) for tokens in held for number in range(TABS)]
    answers = await call_all(server.url, work)
    assert {answer.outcome for answer in answers} == {GOOD}
    bodies = [answer.body for answer in answers]
    families = [bodies[at : at + TABS] for at in range(0, len(bodies), TABS)]
    for before, family in zip(held, families, strict=True):
        assert {each["session_id"] for each in family} == {before["session_id"]}
        assert len({each["refresh_token"] for each in family}) == 1
        assert family[0]["refresh_token"] != before["refresh_token"]
        assert len({claims(each["access_token"])["jti"] for each in family}) == 1
    return [family[0] for family in families]


async def note(tokens: Tokens, caller: RawClient) -> RawResponse:
    """Create an item, which takes a connection of the pool."""
    body = {"title": "A note"}
    return await caller.call("POST", "/api/v1/items", body, bearer=tokens["access_token"])


async def rows_of(url: str) -> dict[str, Any]:
    return {str(row["id"]): row for row in await execute(url, "SELECT * FROM sessions")}


def digest(tokens: Tokens) -> bytes:
    return hashlib.sha256(raw(tokens["refresh_token"])[20:52]).digest()


async def test_one_successor_whatever_happens(own_database_url: str) -> None:
    chance = random.Random(7)  # noqa: S311  # reproducible choices
    # With a long grace period, a slow machine cannot fail this test.
    with served(own_database_url, workers=2, REFRESH_GRACE=60) as server:
        held = await opened(server, users=USERS, each=SESSIONS_EACH)
        after = await rows_of(own_database_url)
        for size in ROUNDS:
            before = after
            held[:size] = await one_round(server, held[:size], chance)
            after = await rows_of(own_database_url)
            assert {each: row["token_digest"] for each, row in after.items()} == {
                each["session_id"]: digest(each) for each in held
            }
            refreshed = {each["session_id"] for each in held[:size]}
            assert {each: row["generation"] for each, row in after.items()} == {
                each: row["generation"] + (each in refreshed) for each, row in before.items()
            }
            await asyncio.to_thread(eventually, server.has_all_workers)
        alive = await call_all(server.url, [partial(me, each) for each in held])
    assert {answer.outcome for answer in alive} == {GOOD}
    assert {row["revoked_at"] for row in after.values()} == {None}
    assert await reuse_events(own_database_url) == []


async def rob(server: Server, family: list[Tokens], stolen: list[Tokens]) -> list[RawResponse]:
    """Replay old tokens of a family while its owner refreshes; return the owner's responses.

    The tokens that the owner receives are appended to `family`.
    """
    current = family[-1]

    async def owner(caller: RawClient) -> list[RawResponse]:
        answers = [await refresh(family[-1], caller)]
        while answers[-1].status == 200:
            family.append(answers[-1].body)
            answers.append(await refresh(family[-1], caller))
        return answers

    async def thief(tokens: Tokens, caller: RawClient) -> list[RawResponse]:
        return [await refresh(tokens, caller)]

    work: list[Callable[[RawClient], Awaitable[list[RawResponse]]]] = [owner]
    work += [partial(thief, tokens) for tokens in stolen]
    owners, *thieves = await call_all(server.url, work, clients=20)
    for (answer,) in thieves:
        assert answer.outcome in (GOOD, REUSED, NO_REFRESH)
        if answer.status == 200:
            assert answer.body["refresh_token"] == current["refresh_token"]
    return owners


async def test_a_family_that_was_stolen_from_ends(own_database_url: str) -> None:
    with served(own_database_url, workers=2) as server:
        for number, tokens in enumerate(await opened(server, users=1, each=4)):
            family = [tokens]
            for _ in range(2):
                family += [
                    answer.body
                    for answer in await call_all(server.url, [partial(refresh, family[-1])])
                ]
            # The predecessor is valid until the owner refreshes, the token before it never.
            stolen = [family[1]] * 150 + [family[number % 2]] * 150
            random.Random(number).shuffle(stolen)  # noqa: S311  # reproducible order
            owners = await rob(server, family, stolen)
            assert owners[-1].outcome in (REUSED, NO_REFRESH)
            again = await call_all(server.url, [partial(refresh, each) for each in family])
            assert {answer.outcome for answer in again} == {NO_REFRESH}
            dead = await call_all(server.url, [partial(me, each) for each in family])
            assert {answer.outcome for answer in dead} == {NO_ACCESS}
    events = await reuse_events(own_database_url)
    assert len({event["target_id"] for event in events}) == len(events) == 4


async def waiting(url: str) -> bool:
    """Return whether a transaction waits for a lock of another one."""
    statement = (
        "SELECT pid FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return bool(await execute(url, statement))


async def test_those_who_wait_for_their_turn_hold_no_connection(own_database_url: str) -> None:
    settings = {"DATABASE_POOL_SIZE": 4, "DATABASE_POOL_TIMEOUT": 1, "REFRESH_GRACE": 60}
    # One process, so that all of them want the same few connections.
    with served(own_database_url, workers=1, **settings) as server:
        first, other = await opened(server, users=2, each=1)
        async with await psycopg.AsyncConnection.connect(own_database_url) as held:
            statement = "SELECT FROM sessions WHERE id = %s FOR UPDATE"
            await held.execute(statement, [first["session_id"]])
            work = [partial(refresh, first)] * 20
            tabs = asyncio.create_task(call_all(server.url, work, clients=20))
            while not await waiting(own_database_url):
                assert not tabs.done()
            answers = await call_all(server.url, [partial(note, other)] * 100, clients=2)
            assert not tabs.done()
        refreshed = await tabs
    assert {answer.outcome for answer in answers} == {(201, None)}
    assert {answer.outcome for answer in refreshed} == {GOOD}
    assert len({answer.body["refresh_token"] for answer in refreshed}) == 1
