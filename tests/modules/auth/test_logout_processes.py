"""Sign-out takes effect on every worker, also while requests share their reads."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.actors import PASSWORD
from tests.processes import served
from tests.raw_client import RawClient, RawResponse, call_all
from tests.sessions import LOGIN, LOGOUT, ME, NO_ACCESS

pytestmark = pytest.mark.slow

ADA = {"email": "ada@example.com", "password": PASSWORD}
SESSIONS, REQUESTS, CHECKS = 12, 60, 6
Outcomes = set[tuple[int, str | None]]


async def register(caller: RawClient) -> RawResponse:
    return await caller.call("POST", "/api/v1/auth/register", ADA)


async def sign_in(caller: RawClient) -> RawResponse:
    return await caller.call("POST", LOGIN, ADA)


async def stay(token: str, caller: RawClient) -> Outcomes:
    return {(await caller.call("GET", ME, bearer=token)).outcome}


async def leave(token: str, caller: RawClient) -> Outcomes:
    """End the session; return the outcomes of its next requests, each on a new connection."""
    assert (await caller.call("POST", LOGOUT, bearer=token)).status == 204
    outcomes: Outcomes = set()
    for _ in range(CHECKS):
        # The connections are spread over the workers.
        caller.close()
        outcomes |= await stay(token, caller)
    return outcomes


async def test_a_session_ends_at_once_on_every_worker_under_load(own_database_url: str) -> None:
    with served(own_database_url, workers=2) as server:
        await call_all(server.url, [register])
        answers = await call_all(server.url, [sign_in] * (SESSIONS + 1))
        staying, *leaving = (answer.body["access_token"] for answer in answers)
        work: list[Callable[[RawClient], Awaitable[Outcomes]]] = []
        for token in leaving:
            work += [partial(stay, staying)] * REQUESTS
            work.append(partial(leave, token))
        outcomes = await call_all(server.url, work, clients=32)
    assert outcomes[REQUESTS :: REQUESTS + 1] == [{NO_ACCESS}] * SESSIONS
    del outcomes[REQUESTS :: REQUESTS + 1]
    assert outcomes == [{(200, None)}] * (SESSIONS * REQUESTS)
