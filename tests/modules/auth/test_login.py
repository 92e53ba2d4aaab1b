"""Sign-in by JSON and by form, with its errors."""

from typing import Any

import httpx
import pytest

from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.modules.users import service as users
from tests.actors import PASSWORD, Actor, Client
from tests.contract import stable_members
from tests.sessions import execute
from tests.statements import Statements

LOGIN = "/api/v1/auth/login"
ME = "/api/v1/users/me"
FORM = {"username": "ada@example.com", "password": PASSWORD}


async def sign_in(client: Client, name: str, password: str = PASSWORD) -> httpx.Response:
    return await client.post(LOGIN, json={"email": name, "password": password})


async def signed_in_as(client: Client, answer: httpx.Response) -> str:
    """Return the username of the account to which the tokens in this response belong."""
    assert answer.status_code == 200, answer.text
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    me = await client.get(ME, headers=headers)
    name: str = me.json()["username"]
    return name


async def test_the_tokens(ada: Actor, client: Client) -> None:
    answer = await sign_in(client, ada.email)
    assert answer.status_code == 200
    tokens = answer.json()
    assert tokens.keys() >= {"access_token", "token_type", "expires_in", "session_id"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("bearer", 1800)
    assert answer.headers["cache-control"] == "no-store"
    assert await signed_in_as(client, answer) == "ada"
    assert tokens["session_id"] != (await sign_in(client, ada.email)).json()["session_id"]


@pytest.mark.parametrize(
    "name", ["ada@example.com", "ADA@Example.COM", "ada", "ADA", " ada@example.com ", " ada\n"]
)
async def test_by_address_or_username_in_any_case(ada: Actor, client: Client, name: str) -> None:
    assert await signed_in_as(client, await sign_in(client, name)) == "ada"
    form = await client.post(LOGIN, data={**FORM, "username": name})
    assert await signed_in_as(client, form) == "ada"


@pytest.mark.parametrize(
    "name", ["\u0391\u03a3", "\u0130bo", "stra\u00dfe", "\u039d\u03b9\u03ba\u03bf\u03c2"]
)
async def test_by_an_address_that_systems_fold_in_different_ways(client: Client, name: str) -> None:
    account = {"email": f"{name}@example.com", "password": PASSWORD, "username": "folded"}
    assert (await client.post("/api/v1/auth/register", json=account)).status_code == 201
    assert await signed_in_as(client, await sign_in(client, account["email"])) == "folded"


async def test_the_password_is_taken_as_it_is(ada: Actor, client: Client) -> None:
    for password in (PASSWORD.lower(), f" {PASSWORD}", f"{PASSWORD} ", PASSWORD[:-1]):
        assert (await sign_in(client, ada.email, password)).status_code == 401


async def test_by_a_multipart_form(ada: Actor, client: Client) -> None:
    parts = {name: (None, value) for name, value in FORM.items()}
    assert await signed_in_as(client, await client.post(LOGIN, files=parts)) == "ada"


async def test_members_of_the_oauth2_form_are_ignored(ada: Actor, client: Client) -> None:
    form = {
        **FORM,
        "grant_type": "password",
        "scope": "anything at all",
        "client_id": "swagger",
        "client_secret": "",
    }
    assert (await client.post(LOGIN, data=form)).status_code == 200
    # Only forms ignore them, because no OAuth2 client sends JSON.
    body = {"email": ada.email, "password": PASSWORD, "grant_type": "password"}
    assert (await client.post(LOGIN, json=body)).status_code == 422


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"username": "ada"}, "body.password"),
        ({"password": PASSWORD}, "body.username"),
        ({**FORM, "username": ""}, "body.username"),
        ({**FORM, "password": ""}, "body.password"),
        ({**FORM, "email": "ada"}, "body.email"),
        ({**FORM, "colour": "red"}, "body.colour"),
        ({**FORM, "username": ["ada", "bob"]}, "body.username"),
        ({**FORM, "username": "a\0b"}, "body.username"),
        ({**FORM, "password": "x" * 129}, "body.password"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_wrong_form(
    ada: Actor, client: Client, form: dict[str, str | list[str]], field: str
) -> None:
    refused = await client.post(LOGIN, data=form)
    assert refused.status_code == 422
    assert {each["field"] for each in refused.json()["errors"]} == {field}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "ada@example.com"},
        {"password": PASSWORD},
        {"email": "", "password": PASSWORD},
        {"email": "ada@example.com", "password": ""},
        {"email": 5, "password": PASSWORD},
        {"email": "ada@example.com", "password": 5},
        {"email": "x" * 255, "password": PASSWORD},
        {"email": "ada@example.com", "password": "x" * 129},
        {"username": "ada", "password": PASSWORD},
        {"email": "ada@example.com", "password": PASSWORD, "colour": "red"},
        [],
        "ada",
        None,
    ],
    ids=lambda body: repr(body)[:50],
)
async def test_a_wrong_body(ada: Actor, client: Client, body: Any) -> None:
    refused = await client.post(LOGIN, json=body)
    assert refused.status_code == 422
    assert PASSWORD not in refused.text


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "application/xml",
        "application/merge-patch+json",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
    ],
)
async def test_another_content_type(client: Client, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    refused = await client.post(LOGIN, content=b'{"email":"a","password":"b"}', headers=headers)
    assert refused.status_code == 415
    assert refused.json()["error"] == "UNSUPPORTED_MEDIA_TYPE"


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("application/json", b""),
        ("application/json", b"{"),
        ("application/json", b'{"email":"a","email":"b","password":"c"}'),
        ("application/json", b'{"email":"\\u0000","password":"c"}'),
        ("application/json", b'{"email":"\\ud800","password":"c"}'),
        ("application/json", b"\xff\xfe{"),
        ("application/x-www-form-urlencoded", b""),
        ("application/x-www-form-urlencoded", b"username=%FF&password=%00"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=x", b"--x\r\nnonsense"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="password"; filename="f"\r\n\r\nx\r\n',
        ),
    ],
)
async def test_a_hostile_body(client: Client, content_type: str, content: bytes) -> None:
    refused = await client.post(LOGIN, content=content, headers={"Content-Type": content_type})
    assert refused.status_code in (400, 422)


async def test_nothing_tells_an_unknown_name_from_a_wrong_password(
    ada: Actor, client: Client, context: Context
) -> None:
    async with context.database.transaction() as session:
        await users.add_user(session, SYSTEM, email="invited@example.com", username="invited")
    answers = [
        await sign_in(client, ada.email, "wrong password"),
        await sign_in(client, "ada", "wrong password"),
        await sign_in(client, "nobody@example.com", "wrong password"),
        await sign_in(client, "nobody", PASSWORD),
        await sign_in(client, "not an address at all", PASSWORD),
        await sign_in(client, "%", PASSWORD),
        # An account that has no password yet.
        await sign_in(client, "invited", PASSWORD),
        await client.post(LOGIN, data={**FORM, "password": "wrong password"}),
    ]
    for answer in answers:
        assert answer.status_code == 401
        assert answer.json()["error"] == "INVALID_CREDENTIALS"
        assert stable_members(answer) == stable_members(answers[0])
        assert answer.headers.keys() == answers[0].headers.keys()


async def test_a_disabled_account_is_told_only_to_who_knows_its_password(
    ada: Actor, admin: Actor, client: Client
) -> None:
    wrong = await sign_in(client, ada.email, "wrong password")
    await admin.patch(f"/api/v1/users/{ada.id}", json={"is_active": False})
    refused = await sign_in(client, ada.email)
    assert (refused.status_code, refused.json()["error"]) == (403, "ACCOUNT_DISABLED")
    still_wrong = await sign_in(client, ada.email, "wrong password")
    assert still_wrong.status_code == 401
    assert stable_members(still_wrong) == stable_members(wrong)


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM users WHERE id = %s", "UPDATE users SET is_active = false WHERE id = %s"],
)
async def test_an_account_that_ends_while_its_password_is_compared(
    ada: Actor, client: Client, statements: Statements, database_url: str, statement: str
) -> None:
    async def end() -> None:
        await execute(database_url, statement, [ada.id])

    statements.before("FOR UPDATE", end)
    answer = await sign_in(client, ada.email)
    assert (answer.status_code, answer.json()["error"]) == (401, "INVALID_CREDENTIALS")
    outcomes = "SELECT outcome FROM audit_events WHERE action = 'auth.login' AND target_id = %s"
    assert [each["outcome"] for each in await execute(database_url, outcomes, [str(ada.id)])] == [
        "failure"
    ]


async def test_a_username_is_nobody_elses_address(client: Client) -> None:
    for username, email in (("first", "second@example.com"), ("second", "first@example.com")):
        body = {"email": email, "username": username, "password": f"{username} password"}
        assert (await client.post("/api/v1/auth/register", json=body)).status_code == 201
    answer = await sign_in(client, "first", "first password")
    assert await signed_in_as(client, answer) == "first"
    answer = await sign_in(client, "first@example.com", "second password")
    assert await signed_in_as(client, answer) == "second"


async def test_login_does_not_look_at_a_token(ada: Actor, client: Client) -> None:
    for header in ("Bearer broken", "Basic YWRhOng=", "", "Bearer"):
        answer = await client.post(
            LOGIN,
            json={"email": ada.email, "password": PASSWORD},
            headers={"Authorization": header},
        )
        assert answer.status_code == 200


async def test_login_is_no_get(client: Client) -> None:
    refused = await client.get(LOGIN)
    assert refused.status_code == 405
    assert refused.headers["allow"] == "POST"


@pytest.mark.parametrize("charset", ["undefined", "nonsense", "punycode", "utf-16"])
async def test_a_form_in_an_encoding_of_its_own_is_no_failure(client: Client, charset: str) -> None:
    answer = await client.post(
        "/api/v1/auth/login",
        headers={"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"},
        content='--x\r\nContent-Disposition: form-data; name="username"\r\n\r\nada\r\n--x--\r\n',
    )
    assert (answer.status_code, answer.json()["error"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
