"""Changing the own password, also during a concurrent sign-in."""

from typing import Any

import psycopg
import pytest

from backend.core.context import Context
from backend.modules.users import service as users
from backend.modules.users.password_attempts import store_password
from tests.actors import PASSWORD, Actor, Client
from tests.statements import Statements

CHANGE = "/api/v1/users/me/password"
LOGIN = "/api/v1/auth/login"
ME = "/api/v1/users/me"
NEW = "a password of my own"


async def change(actor: Actor, current: str = PASSWORD, new: str = NEW) -> Any:
    return await actor.put(CHANGE, json={"current_password": current, "new_password": new})


async def signs_in(client: Client, actor: Actor, password: str) -> bool:
    answer = await client.post(LOGIN, json={"email": actor.email, "password": password})
    return answer.status_code == 200


async def test_the_new_password_counts_from_now_on(ada: Actor, client: Client) -> None:
    answer = await change(ada)
    assert answer.status_code == 204
    assert await signs_in(client, ada, NEW)
    assert not await signs_in(client, ada, PASSWORD)


async def test_other_sessions_end_and_this_one_stays(
    ada: Actor, bob: Actor, client: Client
) -> None:
    others = [
        (await client.post(LOGIN, json={"email": ada.email, "password": PASSWORD})).json()
        for _ in range(2)
    ]
    assert (await change(ada)).status_code == 204
    assert (await ada.get(ME)).status_code == 200
    assert (await bob.get(ME)).status_code == 200
    for tokens in others:
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        answer = await client.get(ME, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (401, "INVALID_TOKEN")
    sessions = (await ada.get("/api/v1/auth/sessions")).json()["data"]
    assert [row["id"] for row in sessions] == [str(ada.session_id)]


async def test_the_current_password_must_be_right(ada: Actor, client: Client) -> None:
    for wrong in ("wrong password", PASSWORD.lower(), f"{PASSWORD} "):
        refused = await change(ada, current=wrong)
        assert (refused.status_code, refused.json()["error"]) == (422, "CURRENT_PASSWORD_WRONG")
    assert await signs_in(client, ada, PASSWORD)


@pytest.mark.parametrize(
    "new", [PASSWORD, "seven77", "password", "ada@example.com", "ADA@EXAMPLE.COM", "x" * 129, ""]
)
async def test_a_new_password_that_is_refused(ada: Actor, client: Client, new: str) -> None:
    refused = await change(ada, new=new)
    assert (refused.status_code, refused.json()["error"]) == (422, "VALIDATION_ERROR")
    assert [each["field"] for each in refused.json()["errors"]] == ["body.new_password"]
    assert await signs_in(client, ada, PASSWORD)


async def test_a_username_is_no_password(ada: Actor) -> None:
    await ada.patch(ME, json={"username": "countess1815"})
    assert (await change(ada, new="COUNTESS1815")).status_code == 422


async def test_the_old_password_in_another_spelling_is_the_old_one(
    ada: Actor, client: Client
) -> None:
    composed, decomposed = "cr\u00e8me br\u00fbl\u00e9e", "cre\u0300me bru\u0302le\u0301e"
    assert (await change(ada, new=composed)).status_code == 204
    assert (await change(ada, current=composed, new=decomposed)).status_code == 422
    assert (await change(ada, current=decomposed, new=NEW)).status_code == 204
    assert await signs_in(client, ada, NEW)


async def test_spaces_make_another_password(ada: Actor, client: Client) -> None:
    assert (await change(ada, new=f" {PASSWORD}")).status_code == 204
    assert await signs_in(client, ada, f" {PASSWORD}")
    assert not await signs_in(client, ada, PASSWORD)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"new_password": NEW},
        {"current_password": PASSWORD},
        {"current_password": PASSWORD, "new_password": None},
        {"current_password": PASSWORD, "new_password": NEW, "password": NEW},
    ],
    ids=",".join,
)
async def test_a_wrong_body(ada: Actor, client: Client, body: dict[str, Any]) -> None:
    refused = await ada.put(CHANGE, json=body)
    assert refused.status_code == 422
    assert NEW not in refused.text
    assert await signs_in(client, ada, PASSWORD)


async def test_nobody_anonymous(client: Client) -> None:
    answer = await client.put(CHANGE, json={})
    assert (answer.status_code, answer.json()["error"]) == (401, "NOT_AUTHENTICATED")


async def test_a_password_changed_after_it_was_verified_opens_no_session(
    ada: Actor, client: Client, context: Context, statements: Statements
) -> None:
    new_hash = await users.hash_new_password(context, NEW, names=())

    async def change_it() -> None:
        async with context.database.transaction() as session:
            await store_password(session, ada.id, new_hash)

    statements.before("FOR UPDATE", change_it)
    refused = await client.post(LOGIN, json={"email": ada.email, "password": PASSWORD})
    assert (refused.status_code, refused.json()["error"]) == (401, "INVALID_CREDENTIALS")
    sessions = (await ada.get("/api/v1/auth/sessions", params={"total": "true"})).json()
    assert sessions["total"] == 1


async def test_an_account_disabled_after_the_password_was_verified_opens_no_session(
    ada: Actor, admin: Actor, client: Client, statements: Statements, database_url: str
) -> None:
    where = f"/api/v1/users/{ada.id}"

    async def disable() -> None:
        assert (await admin.patch(where, json={"is_active": False})).status_code == 200

    statements.before("SELECT users.password_hash", disable)
    refused = await client.post(LOGIN, json={"email": ada.email, "password": PASSWORD})
    assert refused.status_code in (401, 403)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        statement = "SELECT count(*) FROM sessions WHERE user_id = %s"
        found = await (await connection.execute(statement, [ada.id])).fetchone()
    assert found == (1,)


async def test_of_two_changes_from_the_same_password_one_wins(
    ada: Actor, client: Client, context: Context, statements: Statements
) -> None:
    async def change_first() -> None:
        assert (await change(ada, new="the first to come")).status_code == 204

    statements.before("FOR UPDATE", change_first)
    refused = await change(ada, new="the second to come")
    assert (refused.status_code, refused.json()["error"]) == (422, "CURRENT_PASSWORD_WRONG")
    assert await signs_in(client, ada, "the first to come")
