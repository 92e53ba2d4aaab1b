"""Administrators list, read, create and change accounts."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from backend.core.context import Context
from backend.modules.roles.models import Role
from backend.modules.users.models import User, UserRole
from tests.actors import PASSWORD, Actor, ActorFactory, Client
from tests.contract import stable_members

USERS = "/api/v1/users"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def role(context: Context, name: str, *permissions: str) -> str:
    """Create a role and return its name."""
    async with context.database.transaction() as session:
        session.add(Role(name=name, permissions=list(permissions)))
    return name


async def population(context: Context) -> None:
    """Create nine accounts with ties in every order, some without a username."""
    async with context.database.transaction() as session:
        for number in range(9):
            user = User(
                email=f"{'aBc'[number % 3]}{number}@example.com",
                username=None if number % 3 == 0 else f"{'Xyz'[number % 3]}{number}",
                full_name=None if number % 2 else f"Person 100% {number}",
                is_active=number % 4 != 0,
                is_verified=number % 2 == 0,
                created_at=NOON + timedelta(minutes=number % 3),
                updated_at=NOON + timedelta(minutes=number % 2),
            )
            session.add(user)
            await session.flush()
            session.add(UserRole(user_id=user.id, role_name="viewer" if number % 2 else "editor"))


async def listed(actor: Actor, **parameters: Any) -> list[dict[str, Any]]:
    answer = await actor.get(USERS, params={"limit": 100, **parameters})
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows


async def test_the_list_tells_accounts_as_they_are_read_alone(
    admin: Actor, ada: Actor, context: Context
) -> None:
    await population(context)
    rows = await listed(admin)
    assert len(rows) == 11
    for row in rows:
        assert (await admin.get(f"{USERS}/{row['id']}")).json() == row
        assert "password_hash" not in row


async def test_every_filter(admin: Actor, context: Context) -> None:
    await population(context)
    everybody = await listed(admin)
    for parameters, matches in (
        ({"is_active": "true"}, lambda row: row["is_active"]),
        ({"is_active": "false"}, lambda row: not row["is_active"]),
        ({"is_verified": "true"}, lambda row: row["is_verified"]),
        ({"is_verified": "false"}, lambda row: not row["is_verified"]),
        ({"role": "viewer"}, lambda row: "viewer" in row["roles"]),
        ({"role": "admin"}, lambda row: "admin" in row["roles"]),
        ({"role": "unknown"}, lambda row: False),
        (
            {"role": "editor", "is_active": "false"},
            lambda row: "editor" in row["roles"] and not row["is_active"],
        ),
        (
            {"created_after": "2026-01-01T12:01:00Z"},
            lambda row: row["created_at"] >= "2026-01-01T12:01",
        ),
        (
            {"created_before": "2026-01-01T12:01:00Z"},
            lambda row: row["created_at"] < "2026-01-01T12:01",
        ),
        ({"q": "EXAMPLE"}, lambda row: True),
        ({"q": "b"}, lambda row: "b" in row["email"].lower()),
        ({"q": "Y1"}, lambda row: row["username"] == "y1"),
        ({"q": "person"}, lambda row: row["full_name"]),
        ({"q": "100%"}, lambda row: row["full_name"]),
        ({"q": "_"}, lambda row: False),
    ):
        expected = [row["id"] for row in everybody if matches(row)]
        assert [row["id"] for row in await listed(admin, **parameters)] == expected, parameters
        page = await admin.get(USERS, params={"total": "true", "limit": 1, **parameters})
        assert page.json()["total"] == len(expected)


@pytest.mark.parametrize("sort", ["created_at", "updated_at", "email", "username"])
async def test_every_order_page_by_page(admin: Actor, context: Context, sort: str) -> None:
    await population(context)
    for sign in ("", "-"):
        for second in ("", ",-created_at", ",created_at"):
            if sort == "created_at" and second:
                continue
            asked = f"{sign}{sort}{second}"
            whole = await listed(admin, sort=asked)
            values = [(row[sort] or "").lower() for row in whole]
            assert values == sorted(values, reverse=sign == "-")
            walked: list[dict[str, Any]] = []
            cursor: dict[str, str] = {}
            while True:
                page = (await admin.get(USERS, params={"sort": asked, "limit": 2, **cursor})).json()
                walked += page["data"]
                if page["next_cursor"] is None:
                    break
                cursor = {"cursor": page["next_cursor"]}
            assert walked == whole


@pytest.mark.parametrize(
    "query",
    [
        "is_active=1",
        "is_active=True",
        "is_verified=",
        "sort=full_name",
        "sort=roles",
        "q=",
    ],
)
async def test_a_wrong_parameter_is_refused(admin: Actor, query: str) -> None:
    assert (await admin.get(f"{USERS}?{query}")).status_code == 422


async def test_without_the_permission_known_and_unknown_are_refused_alike(
    ada: Actor, bob: Actor
) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"full_name": "New"}),
        ("DELETE", "", None),
        ("PUT", "/roles", {"roles": ["admin"]}),
    ):
        known = await ada.request(method, f"{USERS}/{bob.id}{path}", json=body)
        unknown = await ada.request(method, f"{USERS}/{uuid4()}{path}", json=body)
        assert known.status_code == 403
        assert stable_members(known) == stable_members(unknown)
    for method in ("GET", "POST"):
        assert (await ada.request(method, USERS, json=None)).status_code == 403


async def test_an_unknown_id(admin: Actor) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {}),
        ("DELETE", "", None),
        ("PUT", "/roles", {"roles": []}),
    ):
        for id in (uuid4(), "x"):
            answer = await admin.request(method, f"{USERS}/{id}{path}", json=body)
            assert answer.status_code == 404, (method, id)
    unknown = await admin.get(f"{USERS}/{uuid4()}")
    assert unknown.json()["error"] == "USER_NOT_FOUND"


async def test_an_administrator_makes_an_account(admin: Actor, client: Client) -> None:
    new = {
        "email": "new@example.com",
        "password": PASSWORD,
        "username": "new",
        "full_name": "New User",
        "is_verified": True,
        "roles": ["viewer", "editor", "viewer"],
    }
    made = await admin.post(USERS, json=new)
    assert made.status_code == 201
    user = made.json()
    assert user["roles"] == ["editor", "viewer"]
    assert (user["is_active"], user["is_verified"]) == (True, True)
    assert made.headers["location"] == f"{USERS}/{user['id']}"
    assert (await admin.get(made.headers["location"])).json() == user
    credentials = {"email": "new@example.com", "password": PASSWORD}
    assert (await client.post("/api/v1/auth/login", json=credentials)).status_code == 200


async def test_what_is_not_said_of_a_new_account(admin: Actor) -> None:
    made = await admin.post(USERS, json={"email": "new@example.com", "password": PASSWORD})
    user = made.json()
    assert user["roles"] == ["member"]
    assert (user["is_active"], user["is_verified"]) == (True, False)
    bare = {"email": "bare@example.com", "password": PASSWORD, "roles": []}
    assert (await admin.post(USERS, json=bare)).json()["roles"] == []


async def test_an_account_can_be_made_disabled(admin: Actor, client: Client) -> None:
    new = {"email": "new@example.com", "password": PASSWORD, "is_active": False}
    assert (await admin.post(USERS, json=new)).json()["is_active"] is False
    credentials = {"email": "new@example.com", "password": PASSWORD}
    answer = await client.post("/api/v1/auth/login", json=credentials)
    assert (answer.status_code, answer.json()["error"]) == (403, "ACCOUNT_DISABLED")


@pytest.mark.parametrize(
    ("member", "value", "status", "code"),
    [
        ("email", "ROOT@example.com", 409, "EMAIL_ALREADY_EXISTS"),
        ("username", "ROOT", 409, "USERNAME_ALREADY_EXISTS"),
        ("roles", ["member", "unknown"], 422, "ROLE_UNKNOWN"),
        ("roles", None, 422, "VALIDATION_ERROR"),
        ("roles", "admin", 422, "VALIDATION_ERROR"),
        ("roles", [5], 422, "VALIDATION_ERROR"),
        ("is_active", None, 422, "VALIDATION_ERROR"),
        ("is_active", "true", 422, "VALIDATION_ERROR"),
        ("is_verified", 1, 422, "VALIDATION_ERROR"),
        ("password", "short", 422, "VALIDATION_ERROR"),
        ("colour", "red", 422, "VALIDATION_ERROR"),
    ],
)
async def test_what_cannot_be_made(
    admin: Actor, member: str, value: Any, status: int, code: str
) -> None:
    new = {"email": "new@example.com", "password": PASSWORD, member: value}
    refused = await admin.post(USERS, json=new)
    assert (refused.status_code, refused.json()["error"]) == (status, code)
    assert len(await listed(admin)) == 1


async def test_roles_for_a_new_account_need_users_admin(
    actor: ActorFactory, context: Context
) -> None:
    await role(context, "clerk", "users:read", "users:write")
    clerk = await actor("clara", roles=("clerk", "member"))
    new = {"email": "new@example.com", "password": PASSWORD}
    for roles in (["member"], [], ["admin"]):
        refused = await clerk.post(USERS, json={**new, "roles": roles})
        assert (refused.status_code, refused.json()["error"]) == (403, "PERMISSION_DENIED")
    assert (await clerk.post(USERS, json=new)).json()["roles"] == ["member"]


async def test_nobody_gives_a_new_account_what_they_lack(
    actor: ActorFactory, context: Context
) -> None:
    await role(context, "registrar", "users:read", "users:write", "users:admin")
    await role(context, "auditor", "users:read", "audit:read")
    registrar = await actor("rita", roles=("registrar",))
    new = {"email": "new@example.com", "password": PASSWORD}
    for lacked in ("admin", "auditor"):
        refused = await registrar.post(USERS, json={**new, "roles": [lacked]})
        assert (refused.status_code, refused.json()["error"]) == (403, "PERMISSION_DENIED")
    made = await registrar.post(USERS, json={**new, "roles": ["registrar"]})
    assert made.status_code == 201


async def test_a_password_for_a_new_account_needs_what_it_may_do(
    actor: ActorFactory, context: Context, client: Client
) -> None:
    await role(context, "clerk", "users:read", "users:write")
    clerk = await actor("clara", roles=("clerk",))
    before = len(await listed(clerk))
    new = {"email": "new@example.com", "password": PASSWORD}
    flags: list[dict[str, Any]] = [{}, {"is_active": False}, {"is_verified": True}]
    for members in flags:
        refused = await clerk.post(USERS, json={**new, **members})
        assert (refused.status_code, refused.json()["error"]) == (403, "PERMISSION_DENIED")
    assert len(await listed(clerk)) == before
    signed_in = await client.post("/api/v1/auth/login", json=new)
    assert signed_in.status_code == 401
    variants: list[dict[str, Any]] = [{}, {"password": None}, {"is_active": False}]
    for members in variants:
        email = f"invited{len(members)}{'is_active' in members}@example.com"
        invited = await clerk.post(USERS, json={"email": email, **members})
        assert (invited.status_code, invited.json()["roles"]) == (201, ["member"])
    # The caller needs all permissions of a member, and the permission to create accounts.
    member = await actor("mary", roles=("clerk", "member"))
    assert (await member.post(USERS, json=new)).status_code == 201


async def test_a_password_is_judged_by_what_the_default_role_permits_now(
    actor: ActorFactory, context: Context, admin: Actor
) -> None:
    await role(context, "clerk", "users:write", "users:admin", "items:read")
    clerk = await actor("clara", roles=("clerk",))
    new = {"email": "new@example.com", "password": PASSWORD}
    assert (await clerk.post(USERS, json=new)).status_code == 403
    # Naming the default role makes no difference; an account without roles has no permissions.
    assert (await clerk.post(USERS, json={**new, "roles": ["member"]})).status_code == 403
    bare = {"email": "bare@example.com", "password": PASSWORD, "roles": []}
    assert (await clerk.post(USERS, json=bare)).status_code == 201
    narrowed = await admin.patch("/api/v1/roles/member", json={"permissions": ["items:read"]})
    assert narrowed.status_code == 200
    assert (await clerk.post(USERS, json=new)).status_code == 201


async def test_an_administrator_changes_an_account(admin: Actor, ada: Actor) -> None:
    where = f"{USERS}/{ada.id}"
    user = (await admin.get(where)).json()
    changes = {
        "email": "countess@example.com",
        "username": "countess",
        "full_name": "Ada Lovelace",
        "is_verified": True,
    }
    changed = await admin.patch(where, json=changes)
    assert changed.status_code == 200
    updated_at = changed.json()["updated_at"]
    assert updated_at > user["updated_at"]
    assert changed.json() == {**user, **changes, "updated_at": updated_at}
    assert (await admin.get(where)).json() == changed.json()
    same = await admin.patch(where, json={})
    assert same.json() == changed.json()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"email": "ROOT@example.com"}, 409),
        ({"username": "ROOT"}, 409),
        ({"email": None}, 422),
        ({"email": "x"}, 422),
        ({"is_active": None}, 422),
        ({"is_active": "false"}, 422),
        ({"is_verified": None}, 422),
        ({"roles": ["admin"]}, 422),
        ({"password": "a new password"}, 422),
        ({"id": "0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a"}, 422),
    ],
    ids=repr,
)
async def test_what_cannot_be_changed(
    admin: Actor, ada: Actor, body: dict[str, Any], status: int
) -> None:
    user = (await admin.get(f"{USERS}/{ada.id}")).json()
    refused = await admin.patch(f"{USERS}/{ada.id}", json={"full_name": "New", **body})
    assert refused.status_code == status
    assert (await admin.get(f"{USERS}/{ada.id}")).json() == user


async def test_disabling_locks_out_at_once_and_enabling_lets_in_again(
    admin: Actor, ada: Actor, client: Client
) -> None:
    credentials = {"email": ada.email, "password": PASSWORD}
    assert (await admin.patch(f"{USERS}/{ada.id}", json={"is_active": False})).status_code == 200
    locked_out = await ada.get("/api/v1/users/me")
    assert (locked_out.status_code, locked_out.json()["error"]) == (401, "INVALID_TOKEN")
    assert (await ada.get("/api/v1/articles")).status_code == 401
    assert (await client.post("/api/v1/auth/login", json=credentials)).status_code == 403
    assert (await admin.patch(f"{USERS}/{ada.id}", json={"is_active": True})).status_code == 200
    assert (await client.post("/api/v1/auth/login", json=credentials)).status_code == 200


async def test_nobody_overrules_somebody_with_more_rights(
    actor: ActorFactory, admin: Actor, context: Context
) -> None:
    await role(context, "clerk", "users:read", "users:write", "users:delete", "users:admin")
    clerk = await actor("clara", roles=("clerk",))
    member = await actor("mary")
    nobody = await actor("nemo", roles=())
    for target in (admin, member):
        before = (await clerk.get(f"{USERS}/{target.id}")).json()
        for method, path, body in (
            ("PATCH", "", {"full_name": "New"}),
            ("PATCH", "", {"is_active": False}),
            ("PATCH", "", {}),
            ("DELETE", "", None),
            ("PUT", "/roles", {"roles": []}),
        ):
            refused = await clerk.request(method, f"{USERS}/{target.id}{path}", json=body)
            assert (refused.status_code, refused.json()["error"]) == (403, "PERMISSION_DENIED")
        assert (await clerk.get(f"{USERS}/{target.id}")).json() == before
    changed = await clerk.patch(f"{USERS}/{nobody.id}", json={"full_name": "New"})
    assert changed.status_code == 200
    assert (await clerk.delete(f"{USERS}/{nobody.id}")).status_code == 204


async def test_two_changes_at_once_lose_nothing(admin: Actor, ada: Actor) -> None:
    where = f"{USERS}/{ada.id}"
    answers = await asyncio.gather(
        admin.patch(where, json={"full_name": "Ada"}),
        admin.patch(where, json={"is_verified": True}),
    )
    assert {answer.status_code for answer in answers} == {200}
    user = (await admin.get(where)).json()
    assert (user["full_name"], user["is_verified"]) == ("Ada", True)


async def test_ones_own_address_is_not_changed_by_the_back_door(admin: Actor) -> None:
    own = f"/api/v1/users/{admin.id}"
    answer = await admin.patch(own, json={"email": "new@example.com", "full_name": "New"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body.email"
    assert (await admin.get(own)).json()["full_name"] is None
    kept = await admin.patch(own, json={"email": admin.email, "full_name": "New"})
    assert (kept.status_code, kept.json()["full_name"]) == (200, "New")


async def test_nobody_changes_whether_their_own_address_is_verified(
    admin: Actor, actor: ActorFactory
) -> None:
    own = f"/api/v1/users/{admin.id}"
    for changes in (
        {"is_verified": True},
        {"is_verified": True, "full_name": "New"},
        {"is_verified": True, "email": "new@example.com"},
        {"is_verified": True, "email": admin.email, "is_active": True},
    ):
        refused = await admin.patch(own, json=changes)
        assert (refused.status_code, refused.json()["error"]) == (403, "PERMISSION_DENIED")
        user = (await admin.get(own)).json()
        assert (user["is_verified"], user["full_name"]) == (False, None)
        assert user["email"] == admin.email
    # Unchanged values may be sent along, as forms do.
    kept = await admin.patch(own, json={"is_verified": False, "full_name": "New"})
    assert (kept.status_code, kept.json()["full_name"]) == (200, "New")
    other = await actor("second", roles=("admin",))
    answer = await other.patch(own, json={"is_verified": True})
    assert (answer.status_code, answer.json()["is_verified"]) == (200, True)
    refused = await admin.patch(own, json={"is_verified": False})
    assert (refused.status_code, refused.json()["error"]) == (403, "PERMISSION_DENIED")
    assert (await admin.get(own)).json()["is_verified"] is True
