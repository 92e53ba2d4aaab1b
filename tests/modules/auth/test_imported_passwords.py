"""Imported bcrypt hashes are accepted and replaced at sign-in; other hashes are rejected."""

import unicodedata
from typing import Any

import bcrypt
import pytest
from structlog.typing import EventDict

from backend.core.context import Context
from backend.modules.users import passwords
from backend.modules.users.passwords import PasswordHasher, hasher_of
from tests.actors import PASSWORD, Actor, Client
from tests.sessions import execute, outcome

LOGIN = "/api/v1/auth/login"
ME = "/api/v1/users/me"
GOOD = (200, None)
REFUSED = (401, "INVALID_CREDENTIALS")
KEY = b"a key for tests, thirty-two long"
ARGON = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$" + "Zm9v" * 11
# Stored hashes that no password matches, and the scheme named in the log.
UNUSABLE = {
    "": "empty",
    "plain text": "unknown",
    "5f4dcc3b5aa765d61d8327deb882cf99": "unknown",
    ARGON: "argon2id",
    "pbkdf2_sha256$870000$salt$aGFzaA==": "pbkdf2",
    "$2b$31$" + "a" * 21 + "." + "b" * 31: "bcrypt",
    "$2b$15$" + "a" * 21 + "." + "b" * 31: "bcrypt",
    "$2b$03$" + "a" * 21 + "." + "b" * 31: "bcrypt",
    "$2b$10$" + "a" * 21 + "." + "b" * 30: "bcrypt",
    "$2b$10$" + "a" * 21 + "." + "b" * 32: "bcrypt",
    "$2b$10$" + "a" * 22 + "b" * 31: "bcrypt",
    "$2b$10$" + "a" * 21 + "." + "b" * 30 + "é": "bcrypt",
    "$2b$10$" + "a" * 21 + "." + "b" * 31 + "\n": "bcrypt",
    "$2x$10$" + "a" * 21 + "." + "b" * 31: "bcrypt",
    "deadbeef$2b$10$" + "a" * 21 + "." + "b" * 31: "bcrypt",
    "deadbeef$2b$31$" + "a" * 21 + "." + "b" * 31: "unknown",
}


def imported(password: str | bytes, *, cost: int = 4, prefix: str = "2b") -> str:
    given = password if isinstance(password, bytes) else password.encode()
    made = bcrypt.hashpw(given[:72], bcrypt.gensalt(cost)).decode()
    return made.replace("$2b$", f"${prefix}$")


async def store(url: str, user: Actor, password_hash: str) -> None:
    await execute(
        url, "UPDATE users SET password_hash = %s WHERE id = %s", [password_hash, user.id]
    )


async def stored(url: str, user: Actor) -> str:
    (row,) = await execute(url, "SELECT password_hash FROM users WHERE id = %s", [user.id])
    return str(row["password_hash"])


async def attempt(client: Client, user: Actor, password: str) -> Any:
    return outcome(await client.post(LOGIN, json={"email": user.email, "password": password}))


@pytest.mark.parametrize("prefix", ["2a", "2b", "2y"])
async def test_plain_hashes_sign_in_and_are_replaced(
    ada: Actor, client: Client, context: Context, database_url: str, prefix: str
) -> None:
    # Shorter than a new password may be.
    await store(database_url, ada, imported("short", prefix=prefix))
    assert await attempt(client, ada, "Short") == REFUSED
    assert (await stored(database_url, ada)).startswith(f"${prefix}$")
    assert await attempt(client, ada, "short") == GOOD
    after = await stored(database_url, ada)
    assert hasher_of(context).unusable_scheme(after) is None
    assert not after.startswith("$")
    assert await attempt(client, ada, "short") == GOOD
    assert await attempt(client, ada, "Short") == REFUSED
    assert await stored(database_url, ada) == after


@pytest.mark.parametrize(
    "password",
    ["x" * 100, "é" * 50, "x" * 71 + "é", "🔑" * 20],
    ids=["ascii", "two bytes each", "a letter cut in two", "four bytes each"],
)
async def test_only_plain_hashes_are_of_72_bytes(
    ada: Actor, client: Client, database_url: str, password: str
) -> None:
    await store(database_url, ada, imported(password))
    assert await attempt(client, ada, password[:15]) == REFUSED
    # bcrypt ignores bytes after the 72nd; the hash that replaces it at sign-in does not.
    assert await attempt(client, ada, f"{password}!") == GOOD
    assert await attempt(client, ada, password) == REFUSED
    assert await attempt(client, ada, f"{password}!") == GOOD


async def test_composition_does_not_count(ada: Actor, client: Client, database_url: str) -> None:
    await store(database_url, ada, imported("crème brûlée"))
    typed = unicodedata.normalize("NFD", "crème brûlée")
    assert await attempt(client, ada, typed) == GOOD


async def test_a_password_with_nul_is_compared_like_any_other() -> None:
    hasher = PasswordHasher((KEY,), cost=4)
    assert not await hasher.verify("pass\0word", imported("pass"))
    assert await hasher.verify("pass\0word", imported("pass\0word"))


@pytest.mark.parametrize(("password_hash", "scheme"), UNUSABLE.items())
async def test_any_other_hash_is_a_wrong_password_and_one_warning(
    ada: Actor,
    client: Client,
    database_url: str,
    log: list[EventDict],
    password_hash: str,
    scheme: str,
) -> None:
    await store(database_url, ada, password_hash)
    log.clear()
    assert await attempt(client, ada, PASSWORD) == REFUSED
    (warning,) = (each for each in log if each["log_level"] == "warning")
    assert warning["event"] == "password_hash_unusable"
    assert warning["user_id"] == str(ada.id)
    assert warning["scheme"].startswith(scheme)
    assert password_hash == "" or password_hash not in str(log)
    assert await stored(database_url, ada) == password_hash


@pytest.mark.parametrize("password_hash", [ARGON, "", "$2b$31$" + "a" * 21 + "." + "b" * 31])
async def test_nor_does_it_prove_anything_to_who_is_signed_in(
    ada: Actor, database_url: str, password_hash: str
) -> None:
    await store(database_url, ada, password_hash)
    body = {"current_password": PASSWORD, "new_password": "a password of my own"}
    refused = await ada.put(f"{ME}/password", json=body)
    assert (refused.status_code, refused.json()["error"]) == (422, "CURRENT_PASSWORD_WRONG")
    body = {"current_password": PASSWORD, "email": "new@example.com"}
    refused = await ada.patch(ME, json=body)
    assert (refused.status_code, refused.json()["error"]) == (422, "CURRENT_PASSWORD_WRONG")


async def test_a_plain_hash_proves_who_changes_password_or_address(
    ada: Actor, client: Client, database_url: str
) -> None:
    await store(database_url, ada, imported("short"))
    body = {"current_password": "short", "email": "new@example.com"}
    assert (await ada.patch(ME, json=body)).status_code == 200
    body = {"current_password": "short", "new_password": "a password of my own"}
    assert (await ada.put(f"{ME}/password", json=body)).status_code == 204
    assert await attempt(client, ada, "a password of my own") == GOOD


async def test_the_work_tells_nobody_whether_there_is_an_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = 0

    def count(cost: str) -> None:
        nonlocal work
        work += 2 ** int(cost)

    class Counting:
        @staticmethod
        def hashpw(password: bytes, salt: bytes) -> bytes:
            count(salt.decode().split("$")[2])
            return bcrypt.hashpw(password, salt)

        @staticmethod
        def checkpw(password: bytes, salted: bytes) -> bool:
            count(salted.decode().split("$")[2])
            return bcrypt.checkpw(password, salted)

    hasher = PasswordHasher((KEY,), cost=6)
    own = await hasher.hash("password")
    monkeypatch.setattr(passwords, "bcrypt", Counting)
    for kept in (None, own, imported("x", cost=6), imported("x", cost=4), *UNUSABLE):
        work = 0
        assert not await hasher.verify("wrong", kept)
        assert work == 2**6, kept
