"""The password policy; all characters of a password are significant."""

import re
import unicodedata
from typing import Any

import psycopg
import pytest

from backend.modules.users.passwords import MAX_LENGTH, common_passwords
from tests.actors import Client

REGISTER = "/api/v1/auth/register"
LOGIN = "/api/v1/auth/login"
EMAIL = "Ada.Lovelace@example.com"
USERNAME = "Countess1815"


async def register(client: Client, password: Any) -> Any:
    return await client.post(
        REGISTER, json={"email": EMAIL, "username": USERNAME, "password": password}
    )


async def sign_in(client: Client, password: str) -> int:
    answer = await client.post(LOGIN, json={"email": EMAIL, "password": password})
    return answer.status_code


@pytest.mark.parametrize(
    "password",
    [
        "Test123!",
        "NewUser123!",
        "correct horse battery staple",
        "sevenofX",
        "x9 " * 42 + "ok",
        "\N{GRINNING FACE}" * 8,
        "\N{GRINNING FACE}" * 128,
        "  leading and trailing  ",
        "é" * 128,
        unicodedata.normalize("NFD", "é" * 128),
        "ада лавлейс",
        "tab\tand\nnewline",
        '"quoted" \\ and \\u0000',
        "$2b$12$............................",
    ],
    ids=lambda password: repr(password)[:30],
)
async def test_an_accepted_password_signs_in_and_no_other_does(
    client: Client, password: str
) -> None:
    registered = await register(client, password)
    assert registered.status_code == 201, registered.text
    assert await sign_in(client, password) == 200
    assert await sign_in(client, password[:-2] + "~") == 401
    assert await sign_in(client, password.swapcase() + " ") in (401, 422)


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", "string_too_short"),
        ("seven77", "too_short"),
        ("\N{GRINNING FACE}" * 7, "too_short"),
        (unicodedata.normalize("NFD", "é" * 7), "too_short"),
        ("x" * (MAX_LENGTH + 1), "string_too_long"),
        ("password", "too_common"),
        ("PASSWORD", "too_common"),
        ("12345678", "too_common"),
        ("Qwertyuiop", "too_common"),
        (EMAIL, "too_personal"),
        (EMAIL.upper(), "too_personal"),
        ("ada.lovelace", "too_personal"),
        ("ADA.LOVELACE", "too_personal"),
        (USERNAME, "too_personal"),
        (USERNAME.lower(), "too_personal"),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_a_refused_password_and_why(client: Client, password: str, code: str) -> None:
    refused = await register(client, password)
    assert refused.status_code == 422
    assert refused.json()["error"] == "VALIDATION_ERROR"
    assert [(e["field"], e["code"]) for e in refused.json()["errors"]] == [("body.password", code)]
    assert (await register(client, "another password")).status_code == 201


@pytest.mark.parametrize("password", [None, 12345678, ["password"], {"a": "b"}, True])
async def test_a_password_is_a_text(client: Client, password: Any) -> None:
    assert (await register(client, password)).status_code == 422


async def test_a_refused_password_is_not_repeated(client: Client) -> None:
    for password in ("hunter2", "hunter2" * 50):
        refused = await register(client, password)
        assert "hunter2" not in refused.text


async def test_composed_and_decomposed_are_one_password(client: Client) -> None:
    composed = unicodedata.normalize("NFC", "crème brûlée Å")
    decomposed = unicodedata.normalize("NFD", composed)
    assert composed != decomposed
    assert (await register(client, decomposed)).status_code == 201
    for spelling in (composed, decomposed):
        assert await sign_in(client, spelling) == 200
    # Letters without their marks are different characters.
    assert await sign_in(client, "creme brulee A") == 401


async def test_a_long_password_counts_to_its_last_character(client: Client) -> None:
    # bcrypt alone ignores everything after 72 bytes.
    long = "x" * 71 + "y" * 57
    assert (await register(client, long)).status_code == 201
    assert await sign_in(client, long) == 200
    for other in (long[:72], long[:127], long[:127] + "z", long[:72] + "z" * 56):
        assert await sign_in(client, other) == 401


async def test_a_nul_does_not_cut_a_password_off(client: Client) -> None:
    refused = await client.post(
        REGISTER,
        content=b'{"email": "ada@example.com", "password": "12345678\\u00009999"}',
        headers={"Content-Type": "application/json"},
    )
    assert refused.status_code in (400, 422)


def test_the_list_of_common_passwords_is_usable() -> None:
    known = common_passwords()
    assert len(known) >= 1000
    assert all(password == password.casefold() for password in known)
    assert known.isdisjoint({"test123!", "newuser123!"})


async def test_passwords_are_kept_as_bcrypt_hashes_of_their_own_salt(
    client: Client, database_url: str
) -> None:
    for email in ("a@example.com", "b@example.com"):
        body = {"email": email, "password": "correct horse"}
        assert (await client.post(REGISTER, json=body)).status_code == 201
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        rows = await (await connection.execute("SELECT password_hash FROM users")).fetchall()
    hashes = {row[0] for row in rows}
    assert len(hashes) == 2
    assert all(re.fullmatch(r"[0-9a-f]{8}\$2b\$04\$.{53}", each) for each in hashes)


@pytest.mark.parametrize("path", ["/api/v1/auth/login", "/api/v1/auth/register"])
async def test_what_is_too_long_is_not_even_composed(client: Client, path: str) -> None:
    # Marks in mixed order, which normalization sorts: half a million took minutes.
    bomb = "a" + "\u0301\u0323" * 200_000
    answer = await client.post(path, json={"email": "ada@example.com", "password": bomb})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "string_too_long"
