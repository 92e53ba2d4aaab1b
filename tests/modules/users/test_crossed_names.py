"""Transactions that take names of each other in different orders: a deadlock is no outage."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import psycopg
import pytest
import structlog
from sqlalchemy import text
from structlog.typing import EventDict

from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.modules.users import service as users
from tests.actors import Actor
from tests.statements import waits_for_a_lock
from tests.worker_harness import events_named

USERS = "/api/v1/users"
WANTED = {"email": "wanted@example.com", "username": "crossed"}
Send = Callable[[Actor], Awaitable[Any]]


@pytest.fixture
def log() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


async def created(admin: Actor) -> Any:
    return await admin.post(USERS, json=WANTED)


async def created_in_bulk(admin: Actor) -> Any:
    # A row that is skipped if it conflicts takes all its names at once, or none.
    rows = [{"email": WANTED["email"]}, {"email": "b@example.com", "username": "crossed"}]
    return await admin.post(f"{USERS}/bulk", json={"data": rows})


@pytest.mark.parametrize("send", [created, created_in_bulk])
async def test_the_victim_of_a_deadlock_is_told_to_repeat(
    admin: Actor, context: Context, database_url: str, log: list[EventDict], send: Send
) -> None:
    async with (
        context.database.transaction() as session,
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as watching,
    ):
        # So that PostgreSQL ends the statement of the request, not that of this transaction.
        await (await session.connection()).execute(text("SET LOCAL deadlock_timeout = '1min'"))
        await users.add_user(session, SYSTEM, email="other@example.com", username="crossed")
        # The request has taken the address, and waits for the username.
        request = asyncio.ensure_future(send(admin))
        await waits_for_a_lock(watching, request)
        # This transaction waits for the address.
        await users.add_user(session, SYSTEM, email="wanted@example.com", username="other")
        answer = await request
    assert (answer.status_code, answer.json()["error"]) == (409, "CONFLICT")
    (line,) = events_named(log, "database_conflict")
    assert (line["sqlstate"], line["trouble"]) == ("40P01", "conflict")
    repeated = await send(admin)
    assert (repeated.status_code, repeated.json()["error"]) == (409, "EMAIL_ALREADY_EXISTS")


async def test_two_accounts_that_exchange_their_usernames(
    admin: Actor, ada: Actor, database_url: str
) -> None:
    rename = "UPDATE users SET username = %(name)s, username_key = %(name)s WHERE id = %(id)s"
    for person, name in ((admin, "first"), (ada, "second")):
        answer = await admin.patch(f"{USERS}/{person.id}", json={"username": name})
        assert answer.status_code == 200
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("SET LOCAL deadlock_timeout = '1min'")
        await other.execute(rename, {"id": ada.id, "name": "given-up"})
        body = {"username": "second"}
        request = asyncio.ensure_future(admin.patch(f"{USERS}/{admin.id}", json=body))
        await waits_for_a_lock(other, request)
        with pytest.raises(psycopg.errors.UniqueViolation):
            await other.execute(rename, {"id": ada.id, "name": "first"})
        answer = await request
    assert (answer.status_code, answer.json()["error"]) == (409, "CONFLICT")
