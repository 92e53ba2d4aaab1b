"""Refreshing on several workers at once, some of which are killed meanwhile."""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import psycopg

from tests.actors import PASSWORD
from tests.callers import Answer, Caller, call_all
from tests.commands import eventually
from tests.processes import Server, served
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
    reuses,
)

GOOD = (200, None)
USERS, SESSIONS_EACH, TABS, ROUNDS = 10, 20, 20, 3

Work = Callable[[Caller], Awaitable[Answer]]


async def register(number: int, caller: Caller) -> Answer:
    body = {"email": f"user{number}@example.com", "password": PASSWORD}
    return await caller.call("POST", "/api/v1/auth/register", body)


async def sign_in(number: int, caller: Caller) -> Answer:
    body = {"email": f"user{number}@example.com", "password": PASSWORD}
    return await caller.call("POST", LOGIN, body)


async def refresh(tokens: Tokens, caller: Caller, *, with_access: bool = False) -> Answer:
    body = {"refresh_token": tokens["refresh_token"]}
    bearer = tokens["access_token"] if with_access else None
    return await caller.persistently("POST", REFRESH, body, bearer=bearer)


async def me(tokens: Tokens, caller: Caller) -> Answer:
    return await caller.call("GET", ME, bearer=tokens["access_token"])


async def opened(server: Server, *, users: int, each: int) -> list[Tokens]:
    """So many sessions of each of so many users."""
    made = await call_all(server.url, [partial(register, number) for number in range(users)])
    assert {answer.status for answer in made} == {201}
    work = [partial(sign_in, number) for number in range(users)] * each
    answers = await call_all(server.url, work)
    assert {answer.outcome for answer in answers} == {GOOD}
    return [answer.body for answer in answers]


async def one_round(server: Server, held: list[Tokens], chance: random.Random) -> list[Tokens]:
    """Refresh every session in many tabs, while a worker dies; what each session has then."""
    left = chance.randrange(1, len(held) * TABS)

    async def tab(tokens: Tokens, number: int, caller: Caller) -> Answer:
        nonlocal left
        left -= 1
        if left == 0:
            server.kill_worker(chance.randrange(server.workers))
        return await refresh(tokens, caller, with_access=number % 2 == 0)

    work = [partial(tab, tokens, number) for tokens in held for number in range(TABS)]
    answers = await call_all(server.url, work)
    assert {answer.outcome for answer in answers} == {GOOD}
    told = [answer.body for answer in answers]
    families = [told[at : at + TABS] for at in range(0, len(told), TABS)]
    for before, family in zip(held, families, strict=True):
        assert {each["session_id"] for each in family} == {before["session_id"]}
        assert len({each["refresh_token"] for each in family}) == 1
        assert family[0]["refresh_token"] != before["refresh_token"]
        assert len({claims(each["access_token"])["jti"] for each in family}) == 1
    return [family[0] for family in families]


def digest(tokens: Tokens) -> bytes:
    return hashlib.sha256(raw(tokens["refresh_token"])[20:52]).digest()


async def test_one_successor_whatever_happens(own_database_url: str) -> None:
    chance = random.Random(7)  # noqa: S311  # the same disorder in every run
    # How long a busy machine takes is no part of this.
    with served(own_database_url, workers=2, REFRESH_GRACE=60) as server:
        held = await opened(server, users=USERS, each=SESSIONS_EACH)
        for number in range(1, ROUNDS + 1):
            held = await one_round(server, held, chance)
            rows = await execute(own_database_url, "SELECT * FROM sessions")
            assert {(row["generation"], row["revoked_at"]) for row in rows} == {(number, None)}
            kept = {str(row["id"]): row["token_digest"] for row in rows}
            assert kept == {each["session_id"]: digest(each) for each in held}
            await asyncio.to_thread(eventually, server.is_whole)
        alive = await call_all(server.url, [partial(me, each) for each in held])
    assert {answer.outcome for answer in alive} == {GOOD}
    assert await reuses(own_database_url) == []
