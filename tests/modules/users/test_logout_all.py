"""Administrators end all sessions of an account."""

import asyncio
from uuid import uuid4

import httpx
import psycopg
import pytest

from backend.core.context import Context
from backend.modules.roles.models import Role
from tests.actors import PASSWORD, Actor, ActorFactory, Client
from tests.record import events

USERS = "/api/v1/users"
LOGIN = "/api/v1/auth/login"


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


async def log_out(by: Actor, who: Actor) -> httpx.Response:
    answer: httpx.Response = await by.post(f"{USERS}/{who.id}/logout-all")
    return answer


async def test_every_session_is_over_at_once(
    admin: Actor, ada: Actor, bob: Actor, client: Client, database_url: str
) -> None:
    credentials = {"email": ada.email, "password": PASSWORD}
    second = (await client.post(LOGIN, json=credentials)).json()
    assert (await log_out(admin, ada)).status_code == 204
    for token in (ada.token, second["access_token"]):
        answer = await client.get(f"{USERS}/me", headers={"Authorization": f"Bearer {token}"})
        assert error_of(answer) == (401, "INVALID_TOKEN")
    refresh = {"refresh_token": second["refresh_token"]}
    refused = await client.post("/api/v1/auth/refresh", json=refresh)
    assert error_of(refused) == (401, "REFRESH_TOKEN_INVALID")
    assert (await bob.get(f"{USERS}/me")).status_code == 200
    assert (await admin.get(f"{USERS}/{ada.id}")).json()["is_active"] is True
    assert (await client.post(LOGIN, json=credentials)).status_code == 200
    (event,) = [each for each in await events(database_url, "user") if each.action == "auth.logout"]
    assert (event.actor_id, event.target) == (admin.id, str(ada.id))


async def test_oneself_too(admin: Actor) -> None:
    assert (await log_out(admin, admin)).status_code == 204
    assert (await admin.get(f"{USERS}/me")).status_code == 401


async def test_an_unknown_id(admin: Actor) -> None:
    unknown = await admin.post(f"{USERS}/{uuid4()}/logout-all")
    assert error_of(unknown) == (404, "USER_NOT_FOUND")
    assert (await admin.post(f"{USERS}/x/logout-all")).status_code == 404


async def test_nobody_logs_out_somebody_with_more_rights(
    admin: Actor, ada: Actor, actor: ActorFactory, context: Context
) -> None:
    async with context.database.transaction() as session:
        session.add(Role(name="clerk", permissions=["users:admin", "items:read"]))
        session.add(Role(name="guest", permissions=["items:read"]))
    clerk = await actor("clara", roles=("clerk",))
    guest = await actor("greta", roles=("guest",))
    for target in (admin, ada):
        assert error_of(await log_out(clerk, target)) == (403, "PERMISSION_DENIED")
        assert (await target.get(f"{USERS}/me")).status_code == 200
    assert (await log_out(clerk, guest)).status_code == 204
    assert (await guest.get(f"{USERS}/me")).status_code == 401


@pytest.mark.parametrize("attempt", range(3))
async def test_a_sign_in_at_the_same_moment_is_over_or_begins_afterwards(
    admin: Actor, ada: Actor, client: Client, database_url: str, attempt: int
) -> None:
    """Sign-ins and sign-outs are ordered by locks, because the clocks of two servers differ."""
    credentials = {"email": ada.email, "password": PASSWORD}
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("SELECT FROM users WHERE id = %s FOR UPDATE", [ada.id])
        both = asyncio.gather(log_out(admin, ada), client.post(LOGIN, json=credentials))
        await other.commit()
        ended, opened = await both
    assert (ended.status_code, opened.status_code) == (204, 200)
    token = opened.json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    before = (await client.get(f"{USERS}/me", headers=headers)).status_code
    assert before in (200, 401)
    # If the session began after the first sign-out, the second one ends it.
    assert (await log_out(admin, ada)).status_code == 204
    assert (await client.get(f"{USERS}/me", headers=headers)).status_code == 401
