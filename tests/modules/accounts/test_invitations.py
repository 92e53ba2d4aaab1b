"""Administrators invite users, who then choose their own passwords."""

from typing import Any

import pytest

from tests.actors import PASSWORD, Actor, ActorFactory
from tests.mails import token_of
from tests.modules.accounts.post import (
    FORGOT,
    FRONTEND,
    LOGIN,
    OWN,
    Post,
    assert_token_invalid,
)

USERS = "/api/v1/users"
GRACE = "grace@example.com"


async def invite(admin: Actor, **members: Any) -> dict[str, Any]:
    made = await admin.post(USERS, json={"email": GRACE, "username": "grace", **members})
    assert made.status_code == 201, made.text
    account: dict[str, Any] = made.json()
    return account


async def test_from_the_invitation_to_the_first_sign_in(post: Post, admin: Actor) -> None:
    account = await invite(admin, roles=["editor"])
    assert account["is_verified"] is False
    mail = await post.one(GRACE)
    assert mail["links"] == [f"{FRONTEND}/reset-password#token={token_of(mail)}"]
    assert "7 days" in mail["text"]
    assert (await post.reset(token_of(mail))).status_code == 204
    assert await post.signs_in("grace", OWN)
    read = (await admin.get(f"{USERS}/{account['id']}")).json()
    assert (read["is_verified"], read["roles"]) == (True, ["editor"])
    assert_token_invalid(await post.reset(token_of(mail)))
    assert len(await post.mails(GRACE)) == 1, "a first password causes no notice"


async def test_without_accepting_nobody_signs_in(post: Post, admin: Actor) -> None:
    await invite(admin)
    for password in ("", "None", "null", OWN):
        body = {"email": "grace", "password": password}
        answer = await post.client.post(LOGIN, json=body)
        assert answer.status_code in (401, 422)


@pytest.mark.parametrize("password", [None, PASSWORD])
async def test_an_invitation_is_for_those_without_a_password(
    post: Post, admin: Actor, password: str | None
) -> None:
    await invite(admin, password=password)
    assert len(await post.mails()) == (0 if password else 1)


async def test_a_refused_account_invites_nobody(post: Post, admin: Actor, ada: Actor) -> None:
    for members, status in (
        ({"email": ada.email}, 409),
        ({"username": "ada"}, 409),
        ({"roles": ["unknown"]}, 422),
    ):
        refused = await admin.post(USERS, json={"email": GRACE, **members})
        assert refused.status_code == status
    assert await post.mails() == []


async def test_an_account_made_disabled_is_not_invited(post: Post, admin: Actor) -> None:
    await invite(admin, is_active=False)
    assert await post.mails() == []


async def test_an_invitation_follows_its_account(post: Post, admin: Actor) -> None:
    account = await invite(admin, is_active=False)
    path = f"{USERS}/{account['id']}"
    assert (await admin.patch(path, json={"is_active": True})).status_code == 200
    wrong = await post.token(GRACE)
    assert (await admin.patch(path, json={"email": "hopper@example.com"})).status_code == 200
    assert_token_invalid(await post.reset(wrong))
    right = await post.token("hopper@example.com")
    # Other changes do not send an invitation.
    assert (await admin.patch(path, json={"full_name": "Grace"})).status_code == 200
    assert (await admin.patch(path, json={"is_active": False})).status_code == 200
    assert len([mail for mail in await post.mails() if mail["links"]]) == 2
    assert (await admin.patch(path, json={"is_active": True})).status_code == 200
    right = await post.token("hopper@example.com")
    assert (await post.reset(right)).status_code == 204
    assert (await admin.patch(path, json={"email": "g@example.com"})).status_code == 200
    assert (await post.one("g@example.com"))["links"] == []


async def test_roles_are_refused_before_anything_else_is(
    post: Post, admin: Actor, actor: ActorFactory
) -> None:
    clerk = await clerk_of(admin, actor)
    members = {"email": GRACE, "password": "password", "roles": []}
    refused = await clerk.post(USERS, json=members)
    assert (refused.status_code, refused.json()["error"]) == (403, "PERMISSION_DENIED")


async def clerk_of(admin: Actor, actor: ActorFactory) -> Actor:
    """A user who may create accounts but not assign roles."""
    role = {"name": "clerk", "permissions": ["users:read", "users:write"]}
    assert (await admin.post("/api/v1/roles", json=role)).status_code == 201
    clerk = await actor("clerk")
    given = await admin.put(f"{USERS}/{clerk.id}/roles", json={"roles": ["clerk"]})
    assert given.status_code == 200
    return clerk


async def test_who_lost_the_invitation_asks_as_for_a_forgotten_password(
    post: Post, admin: Actor
) -> None:
    await invite(admin)
    invitation = await post.token(GRACE)
    await post.client.post(FORGOT, json={"email": GRACE})
    assert (await post.reset(await post.token(GRACE))).status_code == 204
    assert await post.signs_in("grace", OWN)
    # An account with a password accepts no invitation.
    assert_token_invalid(await post.reset(invitation, "somebody else's choice"))
