"""One response contains all errors of a body: of types, passwords and several fields."""

from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from tests.actors import PASSWORD, Actor, Client
from tests.sessions import ME, outcome

REGISTER = "/api/v1/auth/register"
RESET = "/api/v1/auth/reset-password"
USERS, ROLES = "/api/v1/users", "/api/v1/roles"
INVALID = (422, "VALIDATION_ERROR")
Found = set[tuple[str, str]]


def found(answer: httpx.Response) -> Found:
    assert outcome(answer) == INVALID, answer.text
    errors = [(each["field"], each["code"]) for each in answer.json()["errors"]]
    assert len(errors) == len(set(errors)), "reported twice"
    return set(errors)


def body(*pairs: tuple[str, str]) -> Found:
    return {(f"body.{field}", code) for field, code in pairs}


SHORT, COMMON = ("password", "too_short"), ("password", "too_common")
OWN = ("password", "too_personal")
COLOUR, BLANK = ("colour", "extra_forbidden"), ("full_name", "string_too_short")
EMAIL = ("email", "email")
NAMES = {"email": "grace@example.com", "username": "grace-hopper"}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"email": "nope", "password": "x"}, [EMAIL, SHORT]),
        ({"email": "nope", "password": "password"}, [EMAIL, COMMON]),
        ({"password": "x"}, [("email", "missing"), SHORT]),
        ({"email": "nope", "password": ""}, [EMAIL, ("password", "string_too_short")]),
        ({"email": "nope", "password": 8}, [EMAIL, ("password", "string_type")]),
        ({"email": "nope", "password": "x" * 129}, [EMAIL, ("password", "string_too_long")]),
        ({"email": "nope"}, [EMAIL, ("password", "missing")]),
        ({"email": "nope", "password": PASSWORD}, [EMAIL]),
        (
            {"email": "nope", "password": "x", "username": "?", "full_name": " ", "colour": 1},
            [
                *(EMAIL, SHORT, ("username", "string_pattern_mismatch")),
                *(("full_name", "string_too_short"), ("colour", "extra_forbidden")),
            ],
        ),
        # Fields that are valid by themselves are compared, even if others are invalid.
        ({**NAMES, "password": "Grace@Example.com", "colour": 1}, [COLOUR, OWN]),
        ({**NAMES, "password": "GRACE-hopper", "full_name": " "}, [BLANK, OWN]),
        ({**NAMES, "email": "x", "password": "grace-hopper"}, [EMAIL, OWN]),
        (
            {"email": " gracehopper@example.com ", "password": "gracehopper", "username": "?"},
            [("username", "string_pattern_mismatch"), OWN],
        ),
    ],
)
async def test_registering(
    client: Client, admin: Actor, sent: dict[str, Any], expected: Iterable[tuple[str, str]]
) -> None:
    for caller, path in ((client, REGISTER), (admin, USERS)):
        optional = {("password", "missing")} if path == USERS else set()
        answer = await caller.post(path, json=sent)
        assert found(answer) == body(*(set(expected) - optional)), path


async def test_making_an_account_with_roles(admin: Actor, ada: Actor) -> None:
    answer = await admin.post(USERS, json={"email": "x", "password": "x", "roles": ["member", "?"]})
    assert found(answer) == body(EMAIL, SHORT, ("roles.1", "unknown"))
    answer = await admin.post(USERS, json={"email": "x", "roles": [5]})
    assert found(answer) == body(EMAIL, ("roles.0", "string_type"))
    # The types are valid, the values are not.
    sent = {"email": "new@example.com", "password": "x", "roles": ["nobody"]}
    assert found(await admin.post(USERS, json=sent)) == body(SHORT, ("roles.0", "unknown"))
    alone = await admin.post(USERS, json={**sent, "password": PASSWORD})
    assert outcome(alone) == (422, "ROLE_UNKNOWN")
    answer = await admin.put(f"{USERS}/{ada.id}/roles", json={"roles": ["nobody"], "role": 1})
    assert found(answer) == body(("roles.0", "unknown"), ("role", "extra_forbidden"))


async def test_resetting_a_password(client: Client) -> None:
    for sent, more in (({}, ("token", "missing")), ({"token": 5}, ("token", "string_type"))):
        answer = await client.post(RESET, json={**sent, "new_password": "x"})
        assert found(answer) == body(more, ("new_password", "too_short"))
    answer = await client.post(RESET, json={"token": "x", "new_password": "x", "colour": 1})
    assert found(answer) == body(("colour", "extra_forbidden"), ("new_password", "too_short"))


async def test_changing_a_password(ada: Actor) -> None:
    path = f"{ME}/password"
    for new, code in (
        ("x", "too_short"), ("password", "too_common"), (ada.email.upper(), "too_personal"),
    ):  # fmt: skip
        wrong = ("new_password", code)
        answer = await ada.put(path, json={"new_password": new})
        assert found(answer) == body(("current_password", "missing"), wrong)
        # The current password is not checked, so it does not count as an attempt.
        for current in ("not it", PASSWORD) * 4:
            answer = await ada.put(path, json={"current_password": current, "new_password": new})
            assert found(answer) == body(wrong)
    sent = {"current_password": PASSWORD, "new_password": PASSWORD, "colour": 1}
    answer = await ada.put(path, json=sent)
    assert found(answer) == body(("colour", "extra_forbidden"), ("new_password", "unchanged"))


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_changing_ones_own_account(ada: Actor, method: str) -> None:
    name = ("username", "string_pattern_mismatch")
    missing = ("current_password", "missing")
    sent = {"email": "new@example.com", "username": "?"}
    assert found(await ada.request(method, ME, json=sent)) == body(name, missing)
    answer = await ada.request(method, ME, json={**sent, "current_password": 5})
    assert found(answer) == body(name, ("current_password", "string_type"))
    for email in (ada.email, f" {ada.email} "):
        assert found(await ada.request(method, ME, json={**sent, "email": email})) == body(name)
    answer = await ada.request(method, ME, json={**sent, "email": "x"})
    assert found(answer) == body(name, EMAIL)


async def test_changing_ones_own_address_as_an_administrator(admin: Actor, ada: Actor) -> None:
    sent = {"email": "new@example.com", "username": "?"}
    name = ("username", "string_pattern_mismatch")
    answer = await admin.patch(f"{USERS}/{admin.id}", json=sent)
    assert found(answer) == body(name, ("email", "own_email"))
    assert found(await admin.patch(f"{USERS}/{ada.id}", json=sent)) == body(name)


async def test_roles(admin: Actor) -> None:
    unknown = ("permissions.1", "unknown")
    sent = {"name": "?", "permissions": ["items:read", "no:thing"]}
    name = ("name", "string_pattern_mismatch")
    assert found(await admin.post(ROLES, json=sent)) == body(name, unknown)
    answer = await admin.patch(f"{ROLES}/editor", json={**sent, "description": " "})
    expected = body(("name", "extra_forbidden"), ("description", "string_too_short"), unknown)
    assert found(answer) == expected


async def test_nothing_is_told_before_it_may_be(client: Client, ada: Actor) -> None:
    sent = {"email": "x", "password": "x", "roles": ["nobody"]}
    assert outcome(await client.post(USERS, json=sent)) == (401, "NOT_AUTHENTICATED")
    assert outcome(await ada.post(USERS, json=sent)) == (403, "PERMISSION_DENIED")
    for text in (b"[]", b"5", b"null", b""):
        headers = {"Content-Type": "application/json"}
        answer = await client.post(REGISTER, content=text, headers=headers)
        assert {field for field, _ in found(answer)} == {"body"}


async def test_the_messages_about_lengths_are_sentences(ada: Actor) -> None:
    for path, sent, message in (
        ("/api/v1/items", {"title": " "}, "Must not be blank."),
        ("/api/v1/items", {"title": "x" * 256}, "Must have at most 255 characters."),
        ("/api/v1/auth/register", {"email": "x@example.com", "password": ""}, "Must not be blank."),
    ):
        refused = await ada.post(path, json=sent)
        assert [each["message"] for each in refused.json()["errors"]] == [message]
