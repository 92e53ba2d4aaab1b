"""Roles of accounts, and the last administrator, who cannot be removed."""

import asyncio
import random
from typing import Any

import httpx
import psycopg
import pytest

from backend.core.context import Context
from backend.modules.roles.models import Role
from backend.modules.users.changes import _ADMINS_LOCK
from backend.modules.users.passwords import USABLE, hasher_of
from tests.actors import PASSWORD, Actor, ActorFactory, Client
from tests.jobs import run_jobs
from tests.mails import token_of

USERS = "/api/v1/users"


async def give(by: Actor, to: Actor, *roles: str) -> httpx.Response:
    answer: httpx.Response = await by.put(f"{USERS}/{to.id}/roles", json={"roles": list(roles)})
    return answer


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


async def test_roles_are_replaced(admin: Actor, ada: Actor) -> None:
    before = (await ada.get(f"{USERS}/{ada.id}")).json()
    answer = await give(admin, ada, "viewer", "editor", "viewer")
    assert answer.status_code == 200
    updated_at = answer.json()["updated_at"]
    assert updated_at > before["updated_at"]
    roles = ["editor", "viewer"]
    assert answer.json() == {**before, "roles": roles, "updated_at": updated_at}
    assert (await ada.get(f"{USERS}/{ada.id}")).json() == answer.json()
    assert (await give(admin, ada, "editor", "viewer")).json() == answer.json()
    assert (await give(admin, ada)).json()["roles"] == []


async def test_roles_count_from_the_next_request_on_and_end_no_session(
    admin: Actor, ada: Actor
) -> None:
    assert (await ada.post("/api/v1/items", json={"title": "a"})).status_code == 201
    await give(admin, ada, "viewer")
    assert (await ada.post("/api/v1/items", json={"title": "a"})).status_code == 403
    assert (await ada.get("/api/v1/items")).status_code == 200
    await give(admin, ada)
    assert (await ada.get("/api/v1/items")).status_code == 403
    await give(admin, ada, "admin")
    assert (await ada.get(USERS)).status_code == 200
    assert (await ada.get("/api/v1/auth/sessions")).json()["data"][0]["current"] is True


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"roles": ["unknown"]}, "ROLE_UNKNOWN"),
        ({"roles": ["member", "Admin"]}, "ROLE_UNKNOWN"),
        ({"roles": [""]}, "ROLE_UNKNOWN"),
        ({"roles": ["member "]}, "ROLE_UNKNOWN"),
        ({"roles": None}, "VALIDATION_ERROR"),
        ({"roles": "member"}, "VALIDATION_ERROR"),
        ({"roles": [None]}, "VALIDATION_ERROR"),
        ({"roles": ["member"] * 51}, "VALIDATION_ERROR"),
        ({}, "VALIDATION_ERROR"),
        ({"roles": [], "is_active": False}, "VALIDATION_ERROR"),
    ],
    ids=repr,
)
async def test_what_is_no_set_of_roles(
    admin: Actor, ada: Actor, body: dict[str, Any], code: str
) -> None:
    refused = await admin.put(f"{USERS}/{ada.id}/roles", json=body)
    assert error_of(refused) == (422, code)
    assert (await ada.get(f"{USERS}/me")).json()["roles"] == ["member"]


async def test_nobody_gives_or_takes_what_they_lack(actor: ActorFactory, context: Context) -> None:
    async with context.database.transaction() as session:
        session.add(Role(name="registrar", permissions=["users:admin", "items:read"]))
        session.add(Role(name="reader", permissions=["items:read"]))
    registrar = await actor("rita", roles=("registrar",))
    nobody = await actor("nemo", roles=())
    member = await actor("mary")
    for roles in (["admin"], ["member"], ["reader", "editor"]):
        refused = await give(registrar, nobody, *roles)
        assert error_of(refused) == (403, "PERMISSION_DENIED")
    refused = await give(registrar, registrar, "registrar", "admin")
    assert error_of(refused) == (403, "PERMISSION_DENIED")
    refused = await give(registrar, member, "reader")
    assert error_of(refused) == (403, "PERMISSION_DENIED")
    assert (await give(registrar, nobody, "reader")).json()["roles"] == ["reader"]
    assert (await give(registrar, registrar)).json()["roles"] == []
    assert (await give(registrar, nobody)).status_code == 403


LEAVING: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "deleting oneself": ("DELETE", "me", None),
    "deleting": ("DELETE", "{id}", None),
    "disabling": ("PATCH", "{id}", {"is_active": False}),
    "stripping": ("PUT", "{id}/roles", {"roles": ["member"]}),
    "stripping of all": ("PUT", "{id}/roles", {"roles": []}),
}


async def leave(by: Actor, who: Actor, way: str) -> httpx.Response:
    method, path, body = LEAVING[way]
    answer: httpx.Response = await by.request(
        method, f"{USERS}/{path.format(id=who.id)}", json=body
    )
    return answer


@pytest.mark.parametrize("way", LEAVING)
async def test_the_last_administrator_stays(admin: Actor, ada: Actor, way: str) -> None:
    before = (await admin.get(f"{USERS}/me")).json()
    refused = await leave(admin, admin, way)
    assert error_of(refused) == (409, "LAST_ADMIN")
    assert (await admin.get(f"{USERS}/me")).json() == before


@pytest.mark.parametrize("way", LEAVING)
async def test_one_of_two_may_leave(admin: Actor, actor: ActorFactory, way: str) -> None:
    second = await actor("second", roles=("admin", "member"))
    left = await leave(admin, admin, way)
    assert left.status_code in (200, 204)
    refused = await leave(second, second, way)
    assert error_of(refused) == (409, "LAST_ADMIN")


@pytest.mark.parametrize("way", LEAVING)
async def test_a_disabled_administrator_does_not_count(
    admin: Actor, actor: ActorFactory, way: str
) -> None:
    second = await actor("second", roles=("admin",))
    disabled = await admin.patch(f"{USERS}/{second.id}", json={"is_active": False})
    assert disabled.status_code == 200
    assert error_of(await leave(admin, admin, way)) == (409, "LAST_ADMIN")
    if way != "deleting oneself":
        # A disabled administrator is not the last active one, so the account can be removed.
        assert (await leave(admin, second, way)).status_code in (200, 204)


ARGON2 = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA"
# Stored values that no password matches; `None` is a password that is not set yet.
UNUSABLE = (
    None,
    "",
    "x",
    ARGON2,
    "$2b$31$abcdefghijklmnopqrstuOPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
    "$2b$12$short",
    "0123abcd$2b$12$abcdefghijklmnopqrstuOPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW more",
)


async def test_what_counts_as_a_password_is_what_the_hasher_accepts(
    context: Context, database_url: str
) -> None:
    hasher = hasher_of(context)
    usable = (
        await hasher.hash(PASSWORD),
        "$2a$10$abcdefghijklmnopqrstuOPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
        "$2y$14$abcdefghijklmnopqrstuOPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
    )
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        for stored in (*UNUSABLE, *usable):
            found = await connection.execute("SELECT %s::text ~ %s", [stored, USABLE])
            matches = bool((await found.fetchone() or [None])[0])
            assert matches == (stored is not None and hasher.unusable_scheme(stored) is None)
            assert matches == (stored in usable), stored


@pytest.mark.parametrize("stored", [None, ARGON2], ids=["invited", "argon2"])
@pytest.mark.parametrize("way", LEAVING)
async def test_an_administrator_without_a_password_does_not_count(
    admin: Actor, actor: ActorFactory, database_url: str, way: str, stored: str | None
) -> None:
    second = await actor("second", roles=("admin",))
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(
            "UPDATE users SET password_hash = %s WHERE id = %s", [stored, second.id]
        )
    assert error_of(await leave(admin, admin, way)) == (409, "LAST_ADMIN")
    if way != "deleting oneself":
        # An administrator without a usable password does not count, so the account can be removed.
        assert (await leave(admin, second, way)).status_code in (200, 204)


@pytest.mark.parametrize("way", LEAVING)
async def test_an_invited_administrator_counts_from_the_first_password_on(
    admin: Actor, context: Context, client: Client, way: str
) -> None:
    invited = {"email": "grace@example.com", "roles": ["admin"]}
    assert (await admin.post(USERS, json=invited)).status_code == 201
    assert error_of(await leave(admin, admin, way)) == (409, "LAST_ADMIN")
    await run_jobs(context)
    mailbox = await client.get("/dev/mailbox", params={"to": "grace@example.com"})
    token = token_of(mailbox.json()["data"][0])
    chosen = {"token": token, "new_password": "a password of my own"}
    assert (await client.post("/api/v1/auth/reset-password", json=chosen)).status_code == 204
    assert (await leave(admin, admin, way)).status_code in (200, 204)


async def test_those_without_a_password_are_not_appointed_while_two_leave(
    admin: Actor, actor: ActorFactory
) -> None:
    second = await actor("second", roles=("admin",))
    for name in ("grace", "carol"):
        invited = {"email": f"{name}@example.com", "roles": ["admin"]}
        assert (await admin.post(USERS, json=invited)).status_code == 201
    answers = await asyncio.gather(
        *(leave(each, each, "deleting oneself") for each in (admin, second))
    )
    assert sorted(answer.status_code for answer in answers) == [204, 409]


async def test_a_change_that_leaves_the_role_is_none(admin: Actor) -> None:
    assert (await give(admin, admin, "admin", "viewer")).status_code == 200
    kept = await admin.patch(f"{USERS}/{admin.id}", json={"is_active": True, "full_name": "Root"})
    assert kept.status_code == 200


@pytest.mark.parametrize("first_way", ["deleting", "disabling", "stripping"])
@pytest.mark.parametrize("second_way", ["deleting", "disabling", "stripping", "stripping of all"])
async def test_two_administrators_who_remove_each_other_at_once(
    actor: ActorFactory, database_url: str, first_way: str, second_way: str
) -> None:
    first = await actor("first", roles=("admin",))
    second = await actor("second", roles=("admin",))
    # Both requests wait for the lock, so that neither ends before the other begins.
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as held:
        await held.execute("SELECT pg_advisory_lock(%s)", [_ADMINS_LOCK])
        removals = asyncio.gather(leave(first, second, first_way), leave(second, first, second_way))
        await both_wait(held, removals)
        await held.execute("SELECT pg_advisory_unlock(%s)", [_ADMINS_LOCK])
        by_first, by_second = await removals
    assert (by_first.is_success, by_second.is_success) in [(True, False), (False, True)]
    refused, remaining = (by_second, first) if by_first.is_success else (by_first, second)
    assert error_of(refused) == (409, "LAST_ADMIN")
    admins = await remaining.get(USERS, params={"role": "admin", "is_active": "true"})
    assert [user["id"] for user in admins.json()["data"]] == [str(remaining.id)]


async def test_two_administrators_who_delete_themselves_at_once(
    actor: ActorFactory, database_url: str
) -> None:
    admins = [await actor(name, roles=("admin",)) for name in ("first", "second")]
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as held:
        await held.execute("SELECT pg_advisory_lock(%s)", [_ADMINS_LOCK])
        removals = asyncio.gather(*(leave(each, each, "deleting oneself") for each in admins))
        await both_wait(held, removals)
        await held.execute("SELECT pg_advisory_unlock(%s)", [_ADMINS_LOCK])
        answers = await removals
    assert sorted(answer.status_code for answer in answers) == [204, 409]


async def both_wait(
    connection: psycopg.AsyncConnection[Any], removals: "asyncio.Future[Any]"
) -> None:
    """Return when two transactions wait for an advisory lock."""
    waiting = 0
    while waiting < 2:
        assert not removals.done(), "an administrator was removed without waiting for the lock"
        cursor = await connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        row = await cursor.fetchone()
        assert row is not None
        waiting = row[0]


async def test_many_administrators_leaving_at_once_leave_one(actor: ActorFactory) -> None:
    admins = [await actor(f"admin{number}", roles=("admin",)) for number in range(5)]
    for _ in range(3):
        answers = await asyncio.gather(*(leave(each, each, "stripping") for each in admins))
        left = [each for each, answer in zip(admins, answers, strict=True) if answer.is_success]
        stayed = [each for each in admins if each not in left]
        assert len(stayed) == 1
        assert error_of(answers[admins.index(stayed[0])]) == (409, "LAST_ADMIN")
        for each in left:
            assert (await give(stayed[0], each, "admin")).status_code == 200


@pytest.mark.parametrize("seed", range(3))
async def test_administrators_who_remove_each_other_in_every_way_leave_one(
    actor: ActorFactory, database_url: str, seed: int
) -> None:
    """Several rounds of concurrent requests, each request on its own connection."""
    chance = random.Random(seed)  # noqa: S311  # reproducible choices
    ways = [way for way in LEAVING if way != "deleting oneself"]
    for number in range(8):
        names = [f"admin{number}{letter}" for letter in "abc"[: chance.choice((2, 3))]]
        admins = [await actor(name, roles=("admin",)) for name in names]
        pairs = list(zip(admins, [*admins[1:], admins[0]], strict=True))
        answers = await asyncio.gather(
            *(leave(by, who, chance.choice(ways)) for by, who in pairs),
            *(leave(each, each, chance.choice(list(LEAVING))) for each in admins[:1]),
        )
        # The later requests may come from a deleted or disabled account, or lack the permission.
        assert {answer.status_code for answer in answers} <= {200, 204, 401, 403, 404, 409}
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            found = await connection.execute(
                "SELECT id FROM users JOIN user_roles ON user_id = id "
                "WHERE role_name = 'admin' AND is_active"
            )
            assert await found.fetchall(), [answer.text for answer in answers]
            # The next round starts without accounts.
            await connection.execute("DELETE FROM users")


async def test_the_refused_administrator_can_still_sign_in(admin: Actor) -> None:
    await leave(admin, admin, "deleting oneself")
    answer = await admin.post(
        "/api/v1/auth/login", json={"email": admin.email, "password": PASSWORD}
    )
    assert answer.status_code == 200
