"""The first administrator is created from settings at the first start."""

import asyncio
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from structlog.typing import EventDict

from backend.modules.users.startup import create_first_admin
from tests.actors import Actor, Client
from tests.applications import make_context

LOGIN = "/api/v1/auth/login"
EMAIL = "First@example.com"
PASSWORD = "a long enough password"


async def start(database_url: str, *, times: int = 1, **settings: Any) -> None:
    """Run the start of `times` workers at the same time."""
    named: dict[str, Any] = {
        "first_admin_email": EMAIL,
        "first_admin_password": SecretStr(PASSWORD),
    }
    contexts = [make_context(database_url, **{**named, **settings}) for _ in range(times)]
    try:
        await asyncio.gather(*(create_first_admin(context) for context in contexts))
    finally:
        for context in contexts:
            await context.database.close()


async def accounts(database_url: str) -> list[tuple[str, str]]:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        found = await connection.execute(
            "SELECT email, string_agg(role_name, ' ') FROM users "
            "LEFT JOIN user_roles ON user_id = id GROUP BY id ORDER BY id"
        )
        return await found.fetchall()


async def test_the_first_start_makes_an_administrator_who_can_sign_in(
    client: Client, database_url: str
) -> None:
    await start(database_url)
    assert await accounts(database_url) == [(EMAIL, "admin")]
    signed_in = await client.post(LOGIN, json={"email": EMAIL.lower(), "password": PASSWORD})
    assert signed_in.status_code == 200
    headers = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
    me = (await client.get("/api/v1/users/me", headers=headers)).json()
    assert (me["is_active"], me["is_verified"], me["roles"]) == (True, True, ["admin"])


async def test_administrators_who_cannot_sign_in_are_none(
    admin: Actor, client: Client, database_url: str
) -> None:
    invited = {"email": "grace@example.com", "roles": ["admin"]}
    assert (await admin.post("/api/v1/users", json=invited)).status_code == 201
    await start(database_url)
    assert len(await accounts(database_url)) == 2, "none is created if one can sign in"
    disable = "UPDATE users SET is_active = email LIKE 'grace%' WHERE is_active"
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(disable)
    await start(database_url, times=3)
    assert [email for email, _ in await accounts(database_url)][2:] == [EMAIL]


async def test_later_starts_make_no_other(database_url: str) -> None:
    await start(database_url)
    await start(database_url)
    await start(database_url, first_admin_email="second@example.com")
    assert await accounts(database_url) == [(EMAIL, "admin")]


@pytest.mark.parametrize("attempt", range(3))
async def test_four_workers_make_one(database_url: str, attempt: int) -> None:
    await start(database_url, times=4)
    assert await accounts(database_url) == [(EMAIL, "admin")]


async def test_not_where_there_is_an_administrator(admin: Actor, database_url: str) -> None:
    await start(database_url, times=2)
    assert await accounts(database_url) == [(admin.email, "admin")]


async def test_again_where_the_only_administrator_is_disabled(
    admin: Actor, database_url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("UPDATE users SET is_active = false")
    await start(database_url)
    assert [email for email, _ in await accounts(database_url)] == [admin.email, EMAIL]


@pytest.mark.parametrize(
    "settings", [{"first_admin_email": None}, {"first_admin_password": None}], ids=str
)
async def test_not_without_both_settings(database_url: str, settings: dict[str, Any]) -> None:
    await start(database_url, **settings)
    assert await accounts(database_url) == []


async def test_an_account_that_exists_is_not_raised(
    ada: Actor, database_url: str, log: list[EventDict]
) -> None:
    await start(database_url, first_admin_email="ADA@example.com")
    assert await accounts(database_url) == [(ada.email, "member")]
    assert [event["event"] for event in log if event["log_level"] == "error"] == [
        "first_admin_not_made"
    ]
    assert PASSWORD not in str(log)
