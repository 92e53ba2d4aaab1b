"""Accounts made by an administrator, for people who choose their own password."""

from typing import Any

import pytest

from tests.actors import PASSWORD, Actor
from tests.modules.accounts.post import (
    FORGOT,
    FRONTEND,
    LOGIN,
    OWN,
    Post,
    assert_dead,
    token_of,
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
    assert_dead(await post.reset(token_of(mail)))
    assert len(await post.arrives(GRACE)) == 1, "nobody is told that a first password is new"


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
    assert len(await post.arrives()) == (0 if password else 1)


async def test_a_refused_account_invites_nobody(post: Post, admin: Actor, ada: Actor) -> None:
    for members, status in (
        ({"email": ada.email}, 409),
        ({"username": "ada"}, 409),
        ({"roles": ["unknown"]}, 422),
    ):
        refused = await admin.post(USERS, json={"email": GRACE, **members})
        assert refused.status_code == status
    assert await post.arrives() == []


async def test_an_account_made_disabled_is_not_invited(post: Post, admin: Actor) -> None:
    await invite(admin, is_active=False)
    assert await post.arrives() == []


async def test_who_lost_the_invitation_asks_as_for_a_forgotten_password(
    post: Post, admin: Actor
) -> None:
    await invite(admin)
    invitation = await post.token(GRACE)
    await post.client.post(FORGOT, json={"email": GRACE})
    assert (await post.reset(await post.token(GRACE))).status_code == 204
    assert await post.signs_in("grace", OWN)
    # With a password there is nothing left to accept.
    assert_dead(await post.reset(invitation, "somebody else's choice"))
