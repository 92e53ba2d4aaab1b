"""Sign-ins refused by a limit are recorded in the audit log, in a bounded number of events."""

import asyncio

import pytest

from backend.core.context import Context
from backend.modules.auth.service import SIGN_IN_ATTEMPTS
from backend.modules.users.service import PASSWORD_ATTEMPTS
from tests.actors import PASSWORD, Actor, Client
from tests.modules.accounts.post import LOGIN, Post
from tests.statements import Statements

WRONG = "Not the right one"


@pytest.fixture(autouse=True)
def limited(post: Post) -> None:
    configure(post)


def configure(post: Post) -> None:
    """Set the limits and clear the memory of the process, as on a server just started."""
    post.configure(
        rate_limit_enabled=True,
        rate_limit_default="100000/minute",
    )


async def sign_in(post: Post, name: str, client: str = "192.0.2.1", password: str = WRONG) -> int:
    async with Client(post.app, address=client) as caller:
        return (await caller.post(LOGIN, json={"email": name, "password": password})).status_code


def denied(post: Post) -> list[str]:
    """Return the targets of the events, oldest first."""
    events = post.audited("auth.login")
    found = [(target, changes) for _, target, outcome, changes in events if outcome == "denied"]
    assert all(changes == {"reason": "RATE_LIMITED"} for _, changes in found)
    return [target for target, _ in found]


async def test_refused_sign_ins_of_an_account_are_on_record_once_a_minute(
    post: Post, ada: Actor
) -> None:
    for _ in range(PASSWORD_ATTEMPTS.limit):
        assert await sign_in(post, ada.email) == 401
    assert denied(post) == []
    for name in (ada.email, ada.username, ada.email.upper()):
        assert await sign_in(post, name, password=PASSWORD) == 429
    assert denied(post) == [str(ada.id)]
    # The event is not repeated by another server.
    configure(post)
    attempts = [sign_in(post, ada.email, f"192.0.2.{each}") for each in range(20)]
    assert set(await asyncio.gather(*attempts)) == {429}
    assert denied(post) == [str(ada.id)]


async def test_after_a_minute_there_is_another_event(post: Post, ada: Actor) -> None:
    for _ in range(PASSWORD_ATTEMPTS.limit + 2):
        await sign_in(post, ada.email)
    # As if a minute had passed: no attempts are counted in the database or the process.
    post.sql("DELETE FROM rate_limit_guesses")
    configure(post)
    for _ in range(PASSWORD_ATTEMPTS.limit + 2):
        await sign_in(post, ada.email)
    assert denied(post) == [str(ada.id)] * 2


async def test_a_name_that_nobody_has_is_not_written_down(post: Post) -> None:
    for _ in range(PASSWORD_ATTEMPTS.limit + 2):
        await sign_in(post, "my password")
    (target,) = denied(post)
    assert "password" not in target


async def test_a_client_that_is_refused_is_on_record(post: Post, ada: Actor) -> None:
    for number in range(SIGN_IN_ATTEMPTS.limit):
        assert await sign_in(post, f"{number}@example.com") == 401
    for _ in range(3):
        assert await sign_in(post, ada.email, password=PASSWORD) == 429
    assert denied(post) == [str(ada.id)]


async def test_a_flood_of_refusals_writes_nothing(
    post: Post, context: Context, ada: Actor, statements: Statements
) -> None:
    for _ in range(PASSWORD_ATTEMPTS.limit + 1):
        await sign_in(post, ada.email)
    statements.clear()
    for number in range(10):
        assert await sign_in(post, ada.email, f"192.0.2.{number + 2}") == 429
    assert [each for each in statements if "audit" in each] == []
    # Per request the account, its guesses and the address; the minute's event only rarely.
    assert 30 < len([*statements]) < 35
