"""The number of round trips of sign-in, refresh and authentication."""

import re
from collections.abc import AsyncIterator

import pytest

from backend.core.context import Context
from tests.actors import PASSWORD, Actor, Client
from tests.applications import make_context
from tests.architecture import read
from tests.sessions import LOGIN, ME, REFRESH
from tests.statements import Statements


@pytest.fixture
async def context(database_url: str) -> AsyncIterator[Context]:
    """Rate limits are on, as in production; requests are counted in memory."""
    made = make_context(
        database_url,
        rate_limit_enabled=True,
        rate_limit_default="100000/minute",
        rate_limit_storage="memory",
    )
    made.state.started = True
    yield made
    await made.database.close()


def summary(statements: Statements) -> list[str]:
    """Return the verb and the first table of each statement."""
    found = []
    for each in statements:
        verb = each.split()[0]
        table = re.search(r"(?:FROM|INTO|UPDATE|JOIN)\s+(?!\()(?:public\.)?(\w+)", each)
        found.append(f"{verb} {table[1]}" if table else verb)
    return found


COUNT, RECORD = "WITH unnest", "WITH audit_events"
TAKES: dict[str, tuple[str, int, list[str]]] = {
    PASSWORD: (
        "ada@example.com",
        200,
        [
            "SELECT users",
            *(COUNT, COUNT),
            # In one transaction, after hashing.
            "SELECT users",
            "DELETE rate_limit_guesses",
            "SELECT",
            "UPDATE sessions",
            "INSERT sessions",
            RECORD,
        ],
    ),
    "wrong": ("ada@example.com", 401, ["SELECT users", COUNT, COUNT, RECORD]),
    "unknown": ("nobody@example.com", 401, ["SELECT users", COUNT, COUNT, RECORD]),
}


@pytest.mark.parametrize("password", TAKES)
async def test_signing_in(
    client: Client, ada: Actor, statements: Statements, password: str
) -> None:
    # The first request on a connection also sends the statements that run once per connection.
    await client.post(LOGIN, json={"email": ada.email, "password": PASSWORD})
    name, status, expected = TAKES[password]
    statements.clear()
    answer = await client.post(LOGIN, json={"email": name, "password": password})
    assert (answer.status_code, summary(statements)) == (status, expected)


async def test_who_is_calling(ada: Actor, statements: Statements) -> None:
    await ada.get(ME)
    statements.clear()
    assert (await ada.get(ME)).status_code == 200
    assert summary(statements) == ["SELECT sessions", "SELECT user_roles"]


async def test_refreshing(client: Client, ada: Actor, statements: Statements) -> None:
    signed_in = await client.post(LOGIN, json={"email": ada.email, "password": PASSWORD})
    sent = {"refresh_token": signed_in.json()["refresh_token"]}
    # The second time, the token is the predecessor in its grace period.
    for expected in (["SELECT sessions", "UPDATE sessions"], ["SELECT sessions"]):
        statements.clear()
        assert (await client.post(REFRESH, json=sent)).status_code == 200
        assert summary(statements) == expected


def test_no_file_of_auth_names_a_password_hash() -> None:
    files = [each for each in read("backend/modules/auth") if "password_hash" in each.text]
    assert files == []
