"""Sessions are listed and ended."""

from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.actors import PASSWORD, Actor, Client
from tests.applications import make_app, make_context
from tests.contract import is_uuid7

SESSIONS = "/api/v1/auth/sessions"
ME = "/api/v1/users/me"
MEMBERS = {"id", "created_at", "last_used_at", "expires_at", "ip", "user_agent", "current"}


async def another_session(client: Client, actor: Actor, user_agent: str = "phone") -> str:
    """Sign in again and return the access token."""
    answer = await client.post(
        "/api/v1/auth/login",
        json={"email": actor.email, "password": PASSWORD},
        headers={"User-Agent": user_agent},
    )
    assert answer.status_code == 200
    token: str = answer.json()["access_token"]
    return token


async def status_with(client: Client, token: str, path: str = ME) -> int:
    answer = await client.get(path, headers={"Authorization": f"Bearer {token}"})
    if answer.status_code == 401:
        assert answer.json()["error"] == "INVALID_TOKEN"
    return answer.status_code


async def sessions_of(actor: Actor, **parameters: Any) -> list[dict[str, Any]]:
    answer: httpx.Response = await actor.get(SESSIONS, params=parameters)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows


async def test_the_envelope_and_its_rows(ada: Actor, client: Client) -> None:
    await another_session(client, ada)
    answer = await ada.get(SESSIONS, params={"total": "true"})
    page = answer.json()
    assert page.keys() == {"data", "next_cursor", "total"}
    assert (page["next_cursor"], page["total"]) == (None, 2)
    newest, own = page["data"]
    assert newest.keys() == own.keys() == MEMBERS
    assert own["id"] == str(ada.session_id)
    assert is_uuid7(newest["id"])
    assert (newest["current"], own["current"]) == (False, True)
    assert (newest["user_agent"], own["user_agent"]) == ("phone", "tests")
    assert own["ip"] == newest["ip"] == "127.0.0.1"
    assert newest["created_at"] > own["created_at"]
    assert own["created_at"] <= own["last_used_at"] < own["expires_at"]


async def test_current_is_told_to_each_session_of_itself(ada: Actor, client: Client) -> None:
    token = await another_session(client, ada)
    headers = {"Authorization": f"Bearer {token}"}
    rows = (await client.get(SESSIONS, headers=headers)).json()["data"]
    assert [row["current"] for row in rows] == [True, False]


async def test_a_long_or_missing_user_agent(ada: Actor, client: Client) -> None:
    await another_session(client, ada, "x" * 1000)
    await another_session(client, ada, "")
    assert [row["user_agent"] for row in await sessions_of(ada)] == [None, "x" * 255, "tests"]


async def test_pages_orders_and_fields(ada: Actor, client: Client) -> None:
    for _ in range(4):
        await another_session(client, ada)
    whole = await sessions_of(ada)
    assert len(whole) == 5
    assert await sessions_of(ada, sort="created_at") == whole[::-1]
    assert await sessions_of(ada, sort="-last_used_at") == whole
    seen: list[dict[str, Any]] = []
    page = (await ada.get(SESSIONS, params={"limit": 2})).json()
    seen += page["data"]
    while page["next_cursor"]:
        page = (await ada.get(SESSIONS, params={"limit": 2, "cursor": page["next_cursor"]})).json()
        seen += page["data"]
    assert seen == whole
    current = await sessions_of(ada, fields="current")
    assert current == [{"current": False}] * 4 + [{"current": True}]
    for query in ("q=x", "sort=ip", "user_id=1", "fields=revoked_at", "limit=0"):
        assert (await ada.get(f"{SESSIONS}?{query}")).status_code == 422


async def test_nobody_sees_or_ends_anothers_session(ada: Actor, bob: Actor) -> None:
    assert [row["id"] for row in await sessions_of(bob)] == [str(bob.session_id)]
    foreign = await bob.delete(f"{SESSIONS}/{ada.session_id}")
    unknown = await bob.delete(f"{SESSIONS}/{uuid4()}")
    for answer in (foreign, unknown):
        assert (answer.status_code, answer.json()["error"]) == (404, "SESSION_NOT_FOUND")
    assert (await bob.delete(f"{SESSIONS}/x")).status_code == 404
    assert (await ada.get(ME)).status_code == 200


async def test_not_even_an_administrator(ada: Actor, admin: Actor) -> None:
    assert (await admin.delete(f"{SESSIONS}/{ada.session_id}")).status_code == 404


async def test_ending_another_session_of_ones_own(ada: Actor, client: Client) -> None:
    token = await another_session(client, ada)
    other = (await sessions_of(ada))[0]["id"]
    assert await status_with(client, token) == 200
    assert (await ada.delete(f"{SESSIONS}/{other}")).status_code == 204
    assert await status_with(client, token) == 401
    assert (await ada.delete(f"{SESSIONS}/{other}")).status_code == 404
    assert [row["id"] for row in await sessions_of(ada)] == [str(ada.session_id)]


async def test_ending_the_current_session(ada: Actor, client: Client) -> None:
    assert (await ada.delete(f"{SESSIONS}/{ada.session_id}")).status_code == 204
    assert await status_with(client, ada.token) == 401


async def test_logging_out_ends_this_session_only(ada: Actor, client: Client) -> None:
    token = await another_session(client, ada)
    answer = await ada.post("/api/v1/auth/logout")
    assert answer.status_code == 204
    assert await status_with(client, ada.token) == 401
    assert await status_with(client, ada.token, "/api/v1/articles") == 401
    assert await status_with(client, token) == 200
    assert (await ada.post("/api/v1/auth/logout")).status_code == 401


async def test_logging_out_everywhere_ends_all(ada: Actor, bob: Actor, client: Client) -> None:
    tokens = [ada.token, *[await another_session(client, ada) for _ in range(3)]]
    assert (await ada.post("/api/v1/auth/logout-all")).status_code == 204
    assert [await status_with(client, token) for token in tokens] == [401] * 4
    assert (await bob.get(ME)).status_code == 200
    assert await status_with(client, await another_session(client, ada)) == 200


async def test_disabling_ends_all_sessions_for_good(
    ada: Actor, admin: Actor, client: Client
) -> None:
    tokens = [ada.token, await another_session(client, ada)]
    await admin.patch(f"/api/v1/users/{ada.id}", json={"is_active": False})
    assert [await status_with(client, token) for token in tokens] == [401, 401]
    await admin.patch(f"/api/v1/users/{ada.id}", json={"is_active": True})
    assert [await status_with(client, token) for token in tokens] == [401, 401]
    token = await another_session(client, ada)
    headers = {"Authorization": f"Bearer {token}"}
    assert len((await client.get(SESSIONS, headers=headers)).json()["data"]) == 1


async def test_deleting_ends_all_sessions(ada: Actor, admin: Actor, client: Client) -> None:
    token = await another_session(client, ada)
    await admin.delete(f"/api/v1/users/{ada.id}")
    assert await status_with(client, token) == 401


async def test_an_expired_session_is_over_and_not_listed(
    ada: Actor, client: Client, database_url: str
) -> None:
    token = await another_session(client, ada)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute(
            "UPDATE sessions SET expires_at = now() WHERE id <> %s", [ada.session_id]
        )
    assert await status_with(client, token) == 401
    rows = await sessions_of(ada)
    assert [row["id"] for row in rows] == [str(ada.session_id)]


@pytest.mark.parametrize(
    "path", ["logout", "logout-all", "sessions", "sessions/0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a"]
)
async def test_nobody_anonymous(client: Client, path: str) -> None:
    method = {"sessions": "GET", "logout": "POST", "logout-all": "POST"}.get(path, "DELETE")
    answer = await client.request(method, f"/api/v1/auth/{path}")
    assert (answer.status_code, answer.json()["error"]) == (401, "NOT_AUTHENTICATED")


async def test_another_worker_knows_at_once(ada: Actor, database_url: str) -> None:
    context = make_context(database_url)
    headers = {"Authorization": f"Bearer {ada.token}"}
    async with Client(make_app(context), headers=headers) as elsewhere:
        # The other worker may cache that the signature of this token is valid.
        assert (await elsewhere.get(ME)).status_code == 200
        assert (await ada.post("/api/v1/auth/logout")).status_code == 204
        assert (await elsewhere.get(ME)).status_code == 401
    await context.database.close()
