"""Audit events of accounts are stored with the change and contain no secrets or names."""

from typing import Any

from tests.actors import PASSWORD, Actor, Client
from tests.record import Event, events

USERS = "/api/v1/users"


async def recorded(database_url: str, user_id: object) -> list[Event]:
    found = await events(database_url, "user")
    return [each for each in found if each.target == str(user_id)]


async def test_an_account_from_its_making_to_its_end(admin: Actor, database_url: str) -> None:
    new = {"email": "new@example.com", "password": PASSWORD, "username": "newcomer"}
    user = (await admin.post(USERS, json={**new, "roles": ["viewer", "editor"]})).json()
    where = f"{USERS}/{user['id']}"
    await admin.patch(where, json={"email": "newer@example.com", "full_name": "New Name"})
    await admin.patch(where, json={"is_active": False, "is_verified": True})
    await admin.put(f"{where}/roles", json={"roles": ["viewer"]})
    assert (await admin.delete(where)).status_code == 204
    expected: list[tuple[str, dict[str, Any]]] = [
        (
            "user.create",
            {
                "is_active": {"old": None, "new": True},
                "is_verified": {"old": None, "new": False},
                "roles": {"old": None, "new": ["editor", "viewer"]},
            },
        ),
        ("user.update", {"email": {"changed": True}, "full_name": {"changed": True}}),
        (
            "user.update",
            {"is_active": {"old": True, "new": False}, "is_verified": {"old": False, "new": True}},
        ),
        ("user.roles", {"roles": {"old": ["editor", "viewer"], "new": ["viewer"]}}),
        ("user.delete", {"roles": {"old": ["viewer"], "new": None}}),
    ]
    found = await recorded(database_url, user["id"])
    assert found == [Event(action, admin.id, user["id"], changes) for action, changes in expected]
    # Audit events cannot be changed, so they must not contain names of deleted users.
    for secret in ("newcomer", "example.com", "New Name", "$2b$", PASSWORD):
        assert secret not in str(found)


async def test_what_one_does_oneself(ada: Actor, database_url: str) -> None:
    await ada.patch(f"{USERS}/me", json={"full_name": "Ada Lovelace"})
    await ada.delete(f"{USERS}/me")
    found = await recorded(database_url, ada.id)
    assert [(each.action, each.actor_id) for each in found[-2:]] == [
        ("user.update", ada.id),
        ("user.delete", ada.id),
    ]


async def test_registering_is_on_record(client: Client, database_url: str) -> None:
    new = {"email": "new@example.com", "password": PASSWORD}
    user = (await client.post("/api/v1/auth/register", json=new)).json()
    (made,) = await recorded(database_url, user["id"])
    assert (made.action, made.actor_id) == ("user.create", None)


async def test_what_changes_nothing_and_what_is_refused_is_not(
    admin: Actor, ada: Actor, bob: Actor, database_url: str
) -> None:
    before = await recorded(database_url, ada.id)
    where = f"{USERS}/{ada.id}"
    user = (await admin.get(where)).json()
    same = {name: user[name] for name in ("email", "username", "full_name", "is_active")}
    for method, path, body, status in (
        ("PATCH", where, {}, 200),
        ("PATCH", where, same, 200),
        ("PUT", f"{where}/roles", {"roles": ["member", "member"]}, 200),
        ("PATCH", where, {"full_name": "New", "username": bob.username}, 409),
        ("PUT", f"{where}/roles", {"roles": ["unknown"]}, 422),
    ):
        answer = await admin.request(method, path, json=body)
        assert answer.status_code == status, (method, body)
    assert (await admin.get(where)).json() == user
    refused = await bob.patch(where, json={"full_name": "New"})
    assert refused.status_code == 403
    assert await recorded(database_url, ada.id) == before
