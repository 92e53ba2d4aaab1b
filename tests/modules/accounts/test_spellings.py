"""All spellings of an address belong to one account, in every database locale."""

import unicodedata
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import databases
from tests.actors import PASSWORD, Actor, ActorFactory
from tests.applications import run_startup
from tests.mails import token_of
from tests.modules.accounts.post import FORGOT, LOGIN, ME, REGISTER, Post
from tests.modules.users.test_first_admin import accounts, start

# As registered, and as typed at sign-in.
SPELLINGS = [
    ("josé@example.com", "JOSÉ@EXAMPLE.COM"),
    ("JOSÉ@example.com", unicodedata.normalize("NFD", "josé@example.com")),
    ("νίκος@example.com", "ΝΊΚΟΣ@example.com"),
    ("strauß@example.com", "STRAUSS@example.com"),
    ("ada@münchen.example", "ADA@XN--MNCHEN-3YA.example"),
]
both_ways = pytest.mark.parametrize(
    ("stored", "typed"), [*SPELLINGS, *((typed, stored) for stored, typed in SPELLINGS)]
)
one_way = pytest.mark.parametrize(("stored", "typed"), SPELLINGS)


@pytest.fixture(scope="module")
def database_of_c_locale(pytestconfig: pytest.Config) -> Iterator[databases.ReusedDatabase]:
    server = databases.server_url(pytestconfig)
    with databases.cloned_database(server, "template0", databases.C_LOCALE) as url:
        databases.upgrade(url)
        run_startup(url)
        database = databases.ReusedDatabase(url)
        ctype = "SELECT datctype FROM pg_database WHERE datname = current_database()"
        assert database.connection.execute(ctype).fetchone() == ("C",)
        assert database.connection.execute("SELECT lower('É')").fetchone() == ("É",)
        yield database
        database.close()


@pytest.fixture(params=["default", pytest.param("C", marks=pytest.mark.slow)])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    wanted = "_reused_database" if request.param == "default" else "database_of_c_locale"
    database: databases.ReusedDatabase = request.getfixturevalue(wanted)
    yield database.url
    database.restore()


async def register(post: Post, email: str, **members: Any) -> httpx.Response:
    return await post.client.post(REGISTER, json={"email": email, "password": PASSWORD, **members})


@both_ways
async def test_an_address_is_taken_in_every_spelling(post: Post, stored: str, typed: str) -> None:
    assert (await register(post, stored)).status_code == 201
    refused = await register(post, typed)
    assert (refused.status_code, refused.json()["error"]) == (409, "EMAIL_ALREADY_EXISTS")
    assert await post.signs_in(stored, PASSWORD)
    assert await post.signs_in(typed, PASSWORD)


async def test_a_username_is_taken_and_found_in_every_spelling(post: Post) -> None:
    assert (await register(post, "ada@example.com", username="Kate.I")).status_code == 201
    refused = await register(post, "other@example.com", username="kATE.i")
    assert (refused.status_code, refused.json()["error"]) == (409, "USERNAME_ALREADY_EXISTS")
    for typed in ("KATE.I", " kate.i ", "\N{KELVIN SIGN}ate.i"):
        assert await post.signs_in(typed, PASSWORD), typed


@one_way
async def test_mail_goes_to_the_stored_spelling(post: Post, stored: str, typed: str) -> None:
    email = (await register(post, stored)).json()["email"]
    await post.mails()
    await post.empty()
    assert (await post.client.post(FORGOT, json={"email": typed})).status_code == 202
    (mail,) = await post.mails()
    assert (mail["to"], "/reset-password#" in mail["links"][0]) == (email, True)


@one_way
async def test_strict_registrations_are_found_in_every_spelling(
    post: Post, stored: str, typed: str
) -> None:
    post.configure(registration_mode="strict", require_verified_email=True)
    for email in (stored, typed):
        assert (await register(post, email)).status_code == 202
        await post.mails()
    first, second = map(token_of, await post.mails())
    # The newer request replaces the older one, though it spells the address differently.
    assert (await post.verify(first)).status_code == 400
    assert (await post.verify(second)).status_code == 204
    assert (await register(post, stored)).status_code == 202
    subjects = [mail["subject"] for mail in await post.mails()]
    assert subjects[2:] == ["Trellis: You already have an account"]


@one_way
async def test_guesses_count_for_the_address_and_not_for_its_spelling(
    post: Post, stored: str, typed: str
) -> None:
    post.configure(rate_limit_enabled=True)
    statuses = [
        (await post.client.post(LOGIN, json={"email": name, "password": "wrong"})).status_code
        for name in (stored, typed) * 3
    ]
    assert statuses == [401] * 5 + [429]


async def test_an_address_of_somebody_else_is_refused_to_who_moves(
    post: Post, actor: ActorFactory
) -> None:
    assert (await register(post, "josé@example.com")).status_code == 201
    ada: Actor = await actor("ada")
    wanted = {"email": "JOSÉ@example.com", "current_password": PASSWORD}
    assert (await ada.patch(ME, json=wanted)).status_code == 409
    admin: Actor = await actor("root", roles=("admin",))
    path = f"/api/v1/users/{ada.id}"
    assert (await admin.patch(path, json={"email": "JOSÉ@example.com"})).status_code == 409
    # The new address signs in, in any spelling; the old one no longer does.
    assert (await admin.patch(path, json={"email": "ÉVA@example.com"})).status_code == 200
    assert await post.signs_in("éva@example.com", PASSWORD)
    assert not await post.signs_in("ada@example.com", PASSWORD)
    assert (await admin.patch(path, json={"username": None})).status_code == 200
    assert not await post.signs_in("ada", PASSWORD)


async def test_the_first_administrator_is_made_once(database_url: str) -> None:
    for email in ("josé@example.com", "JOSÉ@EXAMPLE.COM"):
        await start(database_url, first_admin_email=email)
    assert await accounts(database_url) == [("josé@example.com", "admin")]


async def test_lists_find_and_sort_without_regard_to_case(post: Post, admin: Actor) -> None:
    for email, username in (("Édith@example.com", "Zoe"), ("νίκος@example.com", "abe")):
        assert (await register(post, email, username=username)).status_code == 201

    async def listed(**parameters: str) -> list[str]:
        answer = await admin.get("/api/v1/users", params=parameters)
        assert answer.status_code == 200
        return [row["email"] for row in answer.json()["data"]]

    edith, nikos, root = "Édith@example.com", "νίκος@example.com", admin.email
    for q, found in (("éDITH", [edith]), ("ΝΊΚΟΣ", [nikos]), ("ZO", [edith]), ("%", [])):
        assert await listed(q=q) == found, q
    # Sorted by code point, so that the order is the same in every database.
    assert await listed(sort="email") == [root, edith, nikos]
    assert await listed(sort="-email") == [nikos, edith, root]
    assert await listed(sort="username") == [nikos, root, edith]
