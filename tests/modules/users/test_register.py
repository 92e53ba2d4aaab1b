"""Registration: usernames, addresses and duplicates."""

import asyncio
import unicodedata
from typing import Any

import pytest

from tests.actors import Actor, Client
from tests.contract import is_uuid7

REGISTER = "/api/v1/auth/register"
LOGIN = "/api/v1/auth/login"
PASSWORD = "correct horse battery staple"
MEMBERS = {
    "id",
    "email",
    "username",
    "full_name",
    "is_active",
    "is_verified",
    "roles",
    "avatar_url",
    "created_at",
    "updated_at",
}


async def register(client: Client, **members: Any) -> Any:
    return await client.post(
        REGISTER, json={"email": "new@example.com", "password": PASSWORD, **members}
    )


async def test_an_account_is_told_whole(client: Client) -> None:
    answer = await register(client, username="new", full_name=" New User ")
    assert answer.status_code == 201
    user = answer.json()
    assert user.keys() == MEMBERS
    assert is_uuid7(user["id"])
    assert answer.headers["location"] == f"/api/v1/users/{user['id']}"
    assert (user["email"], user["username"]) == ("new@example.com", "new")
    assert user["full_name"] == "New User"
    assert (user["is_active"], user["is_verified"]) == (True, False)
    assert user["roles"] == ["member"]
    assert user["avatar_url"] is None
    assert user["created_at"] == user["updated_at"]
    assert "set-cookie" not in answer.headers


async def test_only_address_and_password_are_needed(client: Client) -> None:
    user = (await register(client)).json()
    assert (user["username"], user["full_name"]) == (None, None)
    # Accounts without a username do not conflict with each other.
    assert (await register(client, email="second@example.com")).status_code == 201
    assert (await register(client, email="third@example.com", username=None)).status_code == 201


async def test_somebody_signed_in_may_register_another(ada: Actor) -> None:
    answer = await ada.post(REGISTER, json={"email": "new@example.com", "password": PASSWORD})
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "email",
    [
        "ada+notes@example.com",
        "ada@example.test",
        "ADA@EXAMPLE.COM",
        "  ada@example.com ",
        "élodie@example.com",
        "ada@münchen.example",
        "ada@xn--mnchen-3ya.example",
        "ada@MÜNCHEN.example",
        "用户@例子.example",
        "o'brien@example.com",
        "a@b.co",
        f"{'a' * 64}@example.com",
    ],
)
async def test_what_was_registered_signs_in(client: Client, email: str) -> None:
    registered = await register(client, email=email)
    assert registered.status_code == 201, registered.text
    for name in (email, registered.json()["email"]):
        answer = await client.post(LOGIN, json={"email": name, "password": PASSWORD})
        assert answer.status_code == 200, name


@pytest.mark.parametrize(
    "email",
    [
        "",
        " ",
        "ada",
        "ada@",
        "@example.com",
        "ada@example",
        "ada@example..com",
        "ada lovelace@example.com",
        "ada@exa mple.com",
        "Ada <ada@example.com>",
        '"ada lovelace"@example.com',
        "ada@[127.0.0.1]",
        "ada@example.com\nbcc@example.com",
        "ada@example.com\N{ZERO WIDTH SPACE}",
        f"ada@{'a.' * 130}com",
        5,
        None,
        ["ada@example.com"],
    ],
    ids=repr,
)
async def test_what_is_no_address(client: Client, email: Any) -> None:
    refused = await register(client, email=email)
    assert refused.status_code == 422
    assert {each["field"] for each in refused.json()["errors"]} == {"body.email"}


@pytest.mark.parametrize("username", ["abc", "A.b_c-9", "x" * 50, " ada ", "---"])
async def test_a_username(client: Client, username: str) -> None:
    answer = await register(client, username=username)
    assert answer.status_code == 201
    assert answer.json()["username"] == username.strip()
    signed_in = await client.post(LOGIN, json={"email": username, "password": PASSWORD})
    assert signed_in.status_code == 200


@pytest.mark.parametrize(
    "username",
    [
        "",
        "ab",
        "x" * 51,
        "a b c",
        "ada@home",
        "ädä",
        "ada\n1",
        "ada/",
        "ada\N{ZERO WIDTH SPACE}",
        5,
    ],
    ids=repr,
)
async def test_what_is_no_username(client: Client, username: Any) -> None:
    refused = await register(client, username=username)
    assert refused.status_code == 422
    assert {each["field"] for each in refused.json()["errors"]} == {"body.username"}


async def test_the_full_name_has_a_maximum(client: Client) -> None:
    assert (await register(client, full_name="é" * 255)).status_code == 201
    for full_name in ("é" * 256, "", " "):
        refused = await register(client, email="other@example.com", full_name=full_name)
        assert refused.status_code == 422


@pytest.mark.parametrize(
    "member", ["roles", "is_active", "is_verified", "id", "password_hash", "admin", "created_at"]
)
async def test_nobody_registers_with_more_rights(client: Client, member: str) -> None:
    refused = await register(client, **{member: ["admin"]})
    assert refused.status_code == 422
    assert [each["field"] for each in refused.json()["errors"]] == [f"body.{member}"]


async def test_what_is_missing_is_named(client: Client) -> None:
    refused = await client.post(REGISTER, json={})
    assert {each["field"] for each in refused.json()["errors"]} == {"body.email", "body.password"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ada@example.com", "ada@example.com"),
        ("Ada@Example.com", "aDA@eXAMPLE.COM"),
        ("ÉLODIE@example.com", "élodie@example.com"),
        ("élodie@example.com", unicodedata.normalize("NFD", "Élodie@example.com")),
        ("ada@münchen.example", "ada@xn--mnchen-3ya.example"),
        ("ada@example.com", " ada@example.com "),
    ],
)
async def test_one_address_one_account(client: Client, first: str, second: str) -> None:
    assert (await register(client, email=first)).status_code == 201
    refused = await register(client, email=second)
    assert refused.status_code == 409
    assert refused.json()["error"] == "EMAIL_ALREADY_EXISTS"


async def test_plus_addresses_are_different_addresses(client: Client) -> None:
    for email in ("ada@example.com", "ada+1@example.com", "ada+2@example.com"):
        assert (await register(client, email=email)).status_code == 201


async def test_one_username_one_account(client: Client) -> None:
    assert (await register(client, username="Ada")).status_code == 201
    refused = await register(client, email="other@example.com", username="aDA")
    assert refused.status_code == 409
    assert refused.json()["error"] == "USERNAME_ALREADY_EXISTS"
    again = await register(client, email="other@example.com", username="bob")
    assert again.status_code == 201, "the refused attempt left the address taken"


async def test_an_address_taken_by_an_administrators_choice_is_taken(
    client: Client, admin: Actor
) -> None:
    refused = await register(client, email="ROOT@example.com")
    assert refused.json()["error"] == "EMAIL_ALREADY_EXISTS"


@pytest.mark.parametrize("same", ["email", "username"])
async def test_twenty_at_once_make_one_account(client: Client, admin: Actor, same: str) -> None:
    members = [
        {"email": f"user{number}@example.com", "username": f"user{number}"} for number in range(20)
    ]
    for number, each in enumerate(members):
        each[same] = "ada@example.com" if same == "email" else ("ada", "ADA")[number % 2]
    answers = await asyncio.gather(*(register(client, **each) for each in members))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    code = f"{same.upper()}_ALREADY_EXISTS"
    assert {answer.json()["error"] for answer in answers if answer.status_code == 409} == {code}
    users = await admin.get("/api/v1/users", params={"total": "true"})
    assert users.json()["total"] == 2
