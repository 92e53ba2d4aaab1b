"""Concurrent changes of roles, with the lock waits observed in the database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import psycopg
import pytest

from backend.core.context import Context
from backend.core.features import Feature
from backend.core.principal import SYSTEM
from backend.modules.roles.models import Role
from backend.modules.roles.service import sync
from tests.actors import Actor, ActorFactory

ROLES = "/api/v1/roles"
USERS = "/api/v1/users"
Answer = Awaitable[httpx.Response]
Other = psycopg.AsyncConnection[Any]
AllWait = Callable[..., Awaitable[None]]


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Other]:
    """A concurrent transaction."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        yield connection


@pytest.fixture
async def all_wait(database_url: str) -> AsyncIterator[AllWait]:
    """`await all_wait(first, second)` returns when each of the tasks waits for a lock."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:

        async def wait(*tasks: "asyncio.Future[Any]") -> None:
            waiting = 0
            while waiting < len(tasks):
                assert not any(task.done() for task in tasks), "a task did not wait for a lock"
                found = await connection.execute(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
                row = await found.fetchone()
                assert row is not None
                waiting = row[0]

        yield wait


def begun(answer: Answer) -> "asyncio.Future[httpx.Response]":
    return asyncio.ensure_future(answer)


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


async def role(context: Context, name: str, *permissions: str) -> None:
    async with context.database.transaction() as session:
        session.add(Role(name=name, permissions=sorted(permissions)))


async def test_a_name_that_many_want_at_once(admin: Actor) -> None:
    answers = await asyncio.gather(
        *(admin.post(ROLES, json={"name": "reviewer"}) for _ in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]


async def test_a_role_that_is_being_given_is_not_deleted(
    admin: Actor,
    ada: Actor,
    context: Context,
    other: Other,
    all_wait: AllWait,
) -> None:
    await role(context, "reviewer", "items:read")
    await other.execute("INSERT INTO user_roles VALUES (%s, 'reviewer')", [ada.id])
    deleted = begun(admin.delete(f"{ROLES}/reviewer"))
    await all_wait(deleted)
    await other.commit()
    assert error_of(await deleted) == (409, "ROLE_IN_USE")


async def test_a_role_that_is_being_deleted_is_not_given(
    admin: Actor,
    ada: Actor,
    context: Context,
    other: Other,
    all_wait: AllWait,
) -> None:
    await role(context, "reviewer", "items:read")
    await other.execute("DELETE FROM roles WHERE name = 'reviewer'")
    new = {"email": "new@example.com", "password": "correct horse battery"}
    given = begun(admin.put(f"{USERS}/{ada.id}/roles", json={"roles": ["viewer", "reviewer"]}))
    made = begun(admin.post(USERS, json={**new, "roles": ["reviewer"]}))
    await all_wait(given, made)
    await other.commit()
    for refused, place in ((await given, 1), (await made, 0)):
        assert error_of(refused) == (422, "ROLE_UNKNOWN")
        assert refused.json()["errors"][0]["field"] == f"body.roles.{place}"
    assert (await ada.get(f"{USERS}/{ada.id}")).json()["roles"] == ["member"]


async def test_giving_and_deleting_at_once_over_and_over(
    admin: Actor, ada: Actor, context: Context
) -> None:
    for attempt in range(10):
        name = f"role{attempt}"
        await role(context, name, "items:read")
        given, deleted = await asyncio.gather(
            admin.put(f"{USERS}/{ada.id}/roles", json={"roles": [name]}),
            admin.delete(f"{ROLES}/{name}"),
        )
        outcome = (given.status_code, deleted.status_code)
        assert outcome in [(200, 409), (422, 204)], (given.text, deleted.text)
        assert (await admin.put(f"{USERS}/{ada.id}/roles", json={"roles": []})).is_success


async def test_giving_a_role_does_not_wait_for_its_change(
    admin: Actor, ada: Actor, other: Other
) -> None:
    await other.execute("UPDATE roles SET description = 'New.' WHERE name = 'viewer'")
    given = await admin.put(f"{USERS}/{ada.id}/roles", json={"roles": ["viewer"]})
    assert given.status_code == 200


async def test_two_changes_at_once_lose_nothing(
    admin: Actor, context: Context, other: Other, all_wait: AllWait
) -> None:
    await role(context, "reviewer", "items:read")
    await other.execute("SELECT FROM roles WHERE name = 'reviewer' FOR UPDATE")
    changes = [
        begun(admin.patch(f"{ROLES}/reviewer", json={"description": "Reads."})),
        begun(admin.patch(f"{ROLES}/reviewer", json={"permissions": ["items:write"]})),
    ]
    await all_wait(*changes)
    await other.commit()
    assert [answer.status_code for answer in await asyncio.gather(*changes)] == [200, 200]
    changed = (await admin.get(f"{ROLES}/reviewer")).json()
    assert (changed["description"], changed["permissions"]) == ("Reads.", ["items:write"])


async def test_a_change_while_a_new_module_starts_loses_nothing(
    admin: Actor, context: Context, other: Other, all_wait: AllWait
) -> None:
    before = (await admin.get(f"{ROLES}/viewer")).json()["permissions"]
    jots = Feature("made_jots", "Jots.", {"read": "See."}, granted_to={"viewer": ("read",)})

    async def start() -> None:
        async with context.database.transaction() as session:
            await sync(session, SYSTEM, [*context.features, jots])

    await other.execute("SELECT FROM roles WHERE name = 'viewer' FOR UPDATE")
    described = begun(admin.patch(f"{ROLES}/viewer", json={"description": "Looks."}))
    await all_wait(described)
    started = asyncio.ensure_future(start())
    await all_wait(started, described)
    await other.commit()
    await started
    assert (await described).status_code == 200
    viewer = (await admin.get(f"{ROLES}/viewer")).json()
    assert viewer["description"] == "Looks."
    assert viewer["permissions"] == sorted([*before, "made_jots:read"])
    assert "made_jots:read" in (await admin.get(f"{ROLES}/admin")).json()["permissions"]


async def test_rights_that_are_being_taken_away_are_not_given_back(
    actor: ActorFactory, context: Context, other: Other, all_wait: AllWait
) -> None:
    """A request must fail if the permission it began with is removed while it runs."""
    await role(context, "clerk", "roles:write")
    await role(context, "helper", "items:read")
    clerk = await actor("clara", roles=("clerk", "helper"))
    await other.execute("UPDATE roles SET permissions = '{}' WHERE name = 'helper'")
    kept = begun(clerk.patch(f"{ROLES}/helper", json={"permissions": ["items:read"]}))
    await all_wait(kept)
    await other.commit()
    assert error_of(await kept) == (403, "PERMISSION_DENIED")
    assert (await clerk.get("/api/v1/items")).status_code == 403


async def test_a_role_that_is_being_taken_away_is_not_taken_back(
    actor: ActorFactory, context: Context, other: Other, all_wait: AllWait
) -> None:
    await role(context, "clerk", "users:admin", "users:read")
    clerk = await actor("clara", roles=("clerk",))
    await other.execute("SELECT FROM users WHERE id = %s FOR UPDATE", [clerk.id])
    await other.execute("DELETE FROM user_roles WHERE user_id = %s", [clerk.id])
    kept = begun(clerk.put(f"{USERS}/{clerk.id}/roles", json={"roles": ["clerk"]}))
    await all_wait(kept)
    await other.commit()
    assert error_of(await kept) == (403, "PERMISSION_DENIED")
    assert (await clerk.get(f"{USERS}/{clerk.id}")).json()["roles"] == []


async def test_an_account_that_is_being_disabled_does_not_enable_itself(
    actor: ActorFactory, context: Context, other: Other, all_wait: AllWait
) -> None:
    await role(context, "clerk", "users:write")
    clerk = await actor("clara", roles=("clerk",))
    await other.execute("UPDATE users SET is_active = false WHERE id = %s", [clerk.id])
    enabled = begun(clerk.patch(f"{USERS}/{clerk.id}", json={"is_active": True}))
    await all_wait(enabled)
    await other.commit()
    assert error_of(await enabled) == (401, "INVALID_TOKEN")
    found = await other.execute("SELECT is_active FROM users WHERE id = %s", [clerk.id])
    assert await found.fetchone() == (False,)
