"""The own account is read and changed."""

from typing import Any

import pytest

from tests.actors import PASSWORD, Actor, ActorFactory, Client

ME = "/api/v1/users/me"


async def test_one_reads_oneself_by_both_addresses(ada: Actor) -> None:
    me = await ada.get(ME)
    assert me.status_code == 200
    assert me.json()["id"] == str(ada.id)
    alone = (await ada.get(f"/api/v1/users/{ada.id}")).json()
    assert {**alone, "pending_email": None} == me.json()


async def test_one_reads_oneself_without_any_role(actor: ActorFactory) -> None:
    nobody = await actor("nemo", roles=())
    for path in (ME, f"/api/v1/users/{nobody.id}"):
        answer = await nobody.get(path)
        assert answer.status_code == 200
        assert answer.json()["roles"] == []


async def test_some_members_only(ada: Actor) -> None:
    answer = await ada.get(ME, params={"fields": "username,roles"})
    assert answer.json() == {"username": "ada", "roles": ["member"]}
    assert (await ada.get(ME, params={"fields": "password_hash"})).status_code == 422


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_what_is_sent_is_changed(ada: Actor, method: str) -> None:
    me = (await ada.get(ME)).json()
    changed = await ada.request(method, ME, json={"full_name": " Ada Lovelace "})
    assert changed.status_code == 200
    updated_at = changed.json()["updated_at"]
    assert updated_at > me["updated_at"]
    assert changed.json() == {**me, "full_name": "Ada Lovelace", "updated_at": updated_at}
    renamed = await ada.request(method, ME, json={"username": "countess"})
    assert renamed.json()["username"] == "countess"
    assert renamed.json()["full_name"] == "Ada Lovelace"
    cleared = await ada.request(method, ME, json={"username": None, "full_name": None})
    assert cleared.status_code == 200
    assert (cleared.json()["username"], cleared.json()["full_name"]) == (None, None)
    assert (await ada.get(ME)).json() == cleared.json()


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_an_empty_change_changes_nothing(ada: Actor, method: str) -> None:
    me = (await ada.get(ME)).json()
    for body in ({}, {"username": "ada"}):
        answer = await ada.request(method, ME, json=body)
        assert answer.status_code == 200
        assert answer.json() == me


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("is_active", True),
        ("is_verified", True),
        ("roles", ["admin"]),
        ("id", "0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a"),
        ("password", "another password"),
        ("avatar_url", None),
        ("created_at", "2026-01-01T00:00:00Z"),
    ],
)
async def test_the_rest_is_not_ones_own_to_change(
    ada: Actor, method: str, member: str, value: Any
) -> None:
    me = (await ada.get(ME)).json()
    refused = await ada.request(method, ME, json={"full_name": "New", member: value})
    assert refused.status_code == 422
    assert [each["field"] for each in refused.json()["errors"]] == [f"body.{member}"]
    assert (await ada.get(ME)).json() == me


@pytest.mark.parametrize("email", ["new@example.com", "bob@example.com", "ADA@example.com"])
async def test_the_address_is_not_changed_just_so(ada: Actor, email: str) -> None:
    refused = await ada.patch(ME, json={"email": email})
    assert refused.status_code == 422
    assert (await ada.get(ME)).json()["email"] == "ada@example.com"


async def test_a_taken_username(ada: Actor, bob: Actor) -> None:
    refused = await ada.patch(ME, json={"username": "BOB", "full_name": "New"})
    assert refused.status_code == 409
    assert refused.json()["error"] == "USERNAME_ALREADY_EXISTS"
    assert (await ada.get(ME)).json()["full_name"] is None
    own = await ada.patch(ME, json={"username": "ADA"})
    assert own.json()["username"] == "ADA"


async def test_what_is_no_username_or_name(ada: Actor) -> None:
    bodies: list[Any] = [{"username": "a"}, {"username": "a@b.com"}, {"full_name": " "}, [], "x"]
    for body in bodies:
        assert (await ada.patch(ME, json=body)).status_code == 422


async def test_the_new_username_signs_in_and_the_old_one_does_not(
    ada: Actor, client: Client
) -> None:
    await ada.patch(ME, json={"username": "countess"})
    for name, status in (("countess", 200), ("ada", 401)):
        answer = await client.post("/api/v1/auth/login", json={"email": name, "password": PASSWORD})
        assert answer.status_code == status


async def test_nobody_anonymous(client: Client) -> None:
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        answer = await client.request(method, ME, json=[] if method[0] == "P" else None)
        assert answer.status_code == 401
        assert answer.json()["error"] == "NOT_AUTHENTICATED"
