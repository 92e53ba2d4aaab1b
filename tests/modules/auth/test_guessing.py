"""Password guessing is limited across clients, concurrent requests and servers."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psycopg
import pytest

from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.modules.auth.service import SIGN_IN_ATTEMPTS
from backend.modules.users import service as users
from backend.modules.users.password_attempts import clear_failed_attempts
from backend.modules.users.service import PASSWORD_ATTEMPTS
from tests.actors import PASSWORD, Actor, ActorFactory, Client
from tests.applications import make_app, make_context
from tests.hashing import fill_queue
from tests.processes import served
from tests.sessions import execute
from tests.statements import Statements

LOGIN = "/api/v1/auth/login"
CHANGE = "/api/v1/users/me/password"
WRONG = "Not the right one"


@pytest.fixture
async def context(database_url: str) -> AsyncIterator[Context]:
    """Rate limits are on, and the default limit is too high to be reached."""
    made = make_context(
        database_url,
        rate_limit_enabled=True,
        rate_limit_default="100000/minute",
        trusted_proxies="127.0.0.1",
    )
    yield made
    await made.database.close()


@pytest.fixture
async def client(context: Context) -> AsyncIterator[Client]:
    context.state.started = True
    async with Client(make_app(context)) as made:
        yield made


@pytest.fixture
async def ada(client: Client, context: Context) -> AsyncIterator[Actor]:
    app: Any = client._transport.app  # type: ignore[attr-defined]  # ASGITransport's
    cast = ActorFactory(app, context)
    async with cast.stack:
        yield await cast("ada")


class Addresses:
    """Client addresses: a new one for each attempt, as in a botnet."""

    def __init__(self) -> None:
        self.number = 0

    def next(self) -> dict[str, str]:
        self.number += 1
        return {"X-Forwarded-For": f"198.51.{self.number // 250}.{self.number % 250 + 1}"}


@pytest.fixture
def addresses() -> Addresses:
    return Addresses()


async def attempt(
    client: httpx.AsyncClient, addresses: Addresses, name: str, password: str = WRONG
) -> httpx.Response:
    answer = await client.post(
        LOGIN, json={"email": name, "password": password}, headers=addresses.next()
    )
    assert answer.status_code in (200, 401, 403, 429, 503), answer.text
    return answer


async def outcomes(
    client: httpx.AsyncClient, addresses: Addresses, name: str, password: str, times: int
) -> list[int]:
    return [(await attempt(client, addresses, name, password)).status_code for _ in range(times)]


async def tried(url: str) -> int:
    """Return the number of wrong passwords that were compared, from their audit events."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        rows = await connection.execute(
            "SELECT count(*) FROM audit_events WHERE action = 'auth.login' AND outcome = 'failure'"
        )
        found = await rows.fetchone()
    assert found is not None
    return int(found[0])


async def test_the_sixth_guess_waits_and_so_does_the_right_password(
    ada: Actor, client: Client, addresses: Addresses
) -> None:
    assert await outcomes(client, addresses, ada.email, WRONG, 5) == [401] * 5
    refused = await attempt(client, addresses, ada.email, PASSWORD)
    assert refused.status_code == 429
    assert refused.json()["error"] == "RATE_LIMITED"
    assert 1 <= int(refused.headers["retry-after"]) <= PASSWORD_ATTEMPTS.window + 5
    # Attempts count by account, whatever the name and its spelling.
    for name in (ada.username, ada.username.upper(), ada.email.upper()):
        assert (await attempt(client, addresses, name, PASSWORD)).status_code == 429
    assert (await ada.get("/api/v1/users/me")).status_code == 200


async def test_names_that_nobody_has_are_counted_alike(
    client: Client, addresses: Addresses, database_url: str
) -> None:
    assert await outcomes(client, addresses, "nobody@example.com", WRONG, 6) == [401] * 5 + [429]
    assert (await attempt(client, addresses, " NoBody@Example.com ")).status_code == 429
    assert (await attempt(client, addresses, "somebody@example.com")).status_code == 401
    assert await tried(database_url) == 6


async def test_a_right_password_wipes_the_slate(
    ada: Actor, client: Client, addresses: Addresses
) -> None:
    for _ in range(3):
        assert await outcomes(client, addresses, ada.email, WRONG, 4) == [401] * 4
        assert (await attempt(client, addresses, ada.email, PASSWORD)).status_code == 200


async def test_a_reset_lifts_the_lock(
    ada: Actor, client: Client, addresses: Addresses, context: Context
) -> None:
    await outcomes(client, addresses, ada.email, WRONG, 5)
    async with context.database.transaction() as session:
        await clear_failed_attempts(context, session, ada.id)
    assert (await attempt(client, addresses, ada.email, PASSWORD)).status_code == 200


async def test_a_right_password_that_may_not_sign_in_is_no_guess(
    ada: Actor, client: Client, addresses: Addresses, context: Context, database_url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("UPDATE users SET is_active = false WHERE id = %s", [ada.id])
    assert await outcomes(client, addresses, ada.email, PASSWORD, 7) == [403] * 7


async def test_guesses_of_the_current_password_count_as_well(
    ada: Actor, client: Client, addresses: Addresses
) -> None:
    change = {"current_password": WRONG, "new_password": "Another 1 of them"}
    for _ in range(5):
        assert (await ada.put(CHANGE, json=change)).status_code == 422
    answer = await ada.put(CHANGE, json=change | {"current_password": PASSWORD})
    assert (answer.status_code, answer.json()["error"]) == (429, "RATE_LIMITED")
    assert (await attempt(client, addresses, ada.email, PASSWORD)).status_code == 429


async def test_one_address_signs_in_thirty_times_a_minute(client: Client, context: Context) -> None:
    here = {"X-Forwarded-For": "198.51.100.7"}
    for number in range(SIGN_IN_ATTEMPTS.limit):
        body = {"email": f"nobody-{number}@example.com", "password": WRONG}
        assert (await client.post(LOGIN, json=body, headers=here)).status_code == 401
    body = {"email": "another@example.com", "password": WRONG}
    refused = await client.post(LOGIN, json=body, headers=here)
    assert refused.status_code == 429
    elsewhere = {"X-Forwarded-For": "198.51.100.8"}
    assert (await client.post(LOGIN, json=body, headers=elsewhere)).status_code == 401


async def test_a_guess_that_was_not_tried_is_none(
    client: Client,
    ada: Actor,
    addresses: Addresses,
    statements: Statements,
    database_url: str,
    context: Context,
) -> None:
    release = threading.Event()
    waiting: list[asyncio.Future[bool]] = []

    async def change_it_and_be_busy() -> None:
        await execute(database_url, "UPDATE users SET password_hash = NULL WHERE id = %s", [ada.id])
        waiting.extend(await fill_queue(context, release))

    statements.before("FOR UPDATE", change_it_and_be_busy)
    busy = await attempt(client, addresses, ada.email, PASSWORD)
    release.set()
    await asyncio.gather(*waiting)
    assert (busy.status_code, busy.json()["error"]) == (503, "SERVICE_UNAVAILABLE")
    wrong = [await attempt(client, addresses, ada.email) for _ in range(6)]
    assert [each.status_code for each in wrong] == [401] * 5 + [429]


async def test_guesses_made_at_once_are_not_all_tried(
    ada: Actor, client: Client, addresses: Addresses, database_url: str
) -> None:
    answers = await asyncio.gather(*(attempt(client, addresses, ada.email) for _ in range(60)))
    assert Counter(each.status_code for each in answers) == {401: 5, 429: 55}
    assert await tried(database_url) == 5


@pytest.mark.slow
async def test_guesses_made_at_once_on_four_servers(
    own_database_url: str, addresses: Addresses
) -> None:
    context = make_context(own_database_url)
    password_hash = await users.hash_new_password(context, PASSWORD, names=())
    async with context.database.transaction() as session:
        await users.add_user(session, SYSTEM, email="ada@example.com", password_hash=password_hash)
    await context.database.close()
    limits = {"RATE_LIMIT_ENABLED": "true", "TRUSTED_PROXIES": "127.0.0.1"}
    with served(own_database_url, workers=4, **limits) as server:
        async with httpx.AsyncClient(
            base_url=server.url,
            timeout=60,
            # One connection per request, so that every process receives some of them.
            limits=httpx.Limits(max_connections=500),
        ) as client:
            answers = await asyncio.gather(
                *(attempt(client, addresses, "ada@example.com") for _ in range(500))
            )
    assert Counter(each.status_code for each in answers) == {401: 5, 429: 495}
    assert await tried(own_database_url) == 5


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize(
    "spelling", ["X@EXAMPLE.COM", "x@\uff45xample.com", "x@example\u3002com", " x@example.com "]
)
async def test_every_spelling_of_an_address_is_counted_as_one(
    ada: Actor, client: Client, addresses: Addresses, context: Context, known: bool, spelling: str
) -> None:
    if known:
        async with context.database.transaction() as session:
            await users.add_user(session, SYSTEM, email="x@example.com", password_hash=None)
    assert await outcomes(client, addresses, "x@example.com", WRONG, 5) == [401] * 5
    assert (await attempt(client, addresses, spelling)).status_code == 429


async def test_nobody_waits_for_anothers_guesses(
    ada: Actor, client: Client, addresses: Addresses, database_url: str
) -> None:
    assert (await attempt(client, addresses, ada.email)).status_code == 401
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        # Another transaction locks all rows, including Ada's.
        await connection.execute("SELECT FROM rate_limit_guesses FOR UPDATE")
        held = asyncio.ensure_future(attempt(client, addresses, ada.email))
        others = [attempt(client, addresses, f"{number}@example.com") for number in range(5)]
        assert [answer.status_code for answer in await asyncio.gather(*others)] == [401] * 5
        assert not held.done()
    assert (await held).status_code == 401
