"""After a change of SECRET_KEY, tokens and passwords of the previous keys remain valid."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import jwt
import pytest

from backend.core.context import Context
from backend.core.security import key_id
from backend.modules.auth.tokens import issuer_of
from tests.actors import PASSWORD, Actor, Client
from tests.applications import make_context
from tests.sessions import (
    ME,
    NO_ACCESS,
    NO_REFRESH,
    REFRESH,
    REUSED,
    SESSIONS,
    Tokens,
    access,
    age,
    execute,
    outcome,
    raw,
    refresh,
    refreshed,
    sign_in,
    stored,
)
from tests.web import Page, configured_client

GOOD = (200, None)
REFUSED = (401, "INVALID_CREDENTIALS")
# Without commas, which separate keys in the setting.
OLD = "the key that was in use before: 0123456789"
NEW = "the key that comes after it: 9876543210"
NEWEST = "and the one that comes after both: 5647382910"

Elsewhere = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def context(context: Context) -> Context:
    """The context of the other fixtures, with the old key."""
    return replace(context, secret_keys=(OLD.encode(),))


@pytest.fixture
def keyed(database_url: str) -> Elsewhere:
    """Return a client of a server with the given keys: `keyed(secret_key=NEW)`."""
    return partial(configured_client, database_url)


@pytest.fixture
async def renewed(keyed: Elsewhere) -> AsyncIterator[Client]:
    """A server on which the key was changed as documented."""
    async with keyed(secret_key=NEW, secret_key_previous=OLD) as client:
        yield client


@pytest.fixture
async def forgetful(keyed: Elsewhere) -> AsyncIterator[Client]:
    """A server with the new key only."""
    async with keyed(secret_key=NEW) as client:
        yield client


async def password_hash(url: str, user: Actor) -> str:
    (row,) = await execute(url, "SELECT password_hash FROM users WHERE id = %s", [user.id])
    found: str = row["password_hash"]
    return found


async def try_password(client: Client, name: str, password: str = PASSWORD) -> Any:
    return outcome(
        await client.post("/api/v1/auth/login", json={"email": name, "password": password})
    )


def kid(access_token: str) -> str:
    found: str = jwt.get_unverified_header(access_token)["kid"]
    return found


def kid_of(secret: str) -> str:
    return key_id(issuer_of(make_context("postgresql://nowhere", secret_key=secret)).keys[0])


async def test_the_key_is_named(opened: Tokens, ada: Actor, renewed: Client) -> None:
    after = await sign_in(renewed, ada.email)
    assert (kid(opened["access_token"]), kid(after["access_token"])) == (kid_of(OLD), kid_of(NEW))
    assert kid_of(OLD) != kid_of(NEW)


async def test_a_name_of_another_key_does_not_help(
    opened: Tokens, renewed: Client, context: Context
) -> None:
    claims = jwt.decode(opened["access_token"], options={"verify_signature": False})
    headers = {"typ": "at+jwt", "kid": kid_of(NEW)}
    forged = jwt.encode(claims, issuer_of(context).keys[0], "HS256", headers=headers)
    assert await access(renewed, forged) == NO_ACCESS


async def test_access_tokens_stay_good(opened: Tokens, ada: Actor, renewed: Client) -> None:
    for token in (opened["access_token"], ada.token):
        assert await access(renewed, token) == GOOD


async def test_refresh_tokens_stay_good_and_are_replaced_by_the_new_key(
    opened: Tokens, renewed: Client, forgetful: Client
) -> None:
    beside = opened["access_token"]
    answer = await refresh(renewed, opened["refresh_token"], access=beside)
    assert outcome(answer) == GOOD
    after = answer.json()
    assert after["session_id"] == opened["session_id"]
    assert kid(after["access_token"]) == kid_of(NEW)
    # The new tokens are valid without the former key.
    assert await access(forgetful, after["access_token"]) == GOOD
    await refreshed(forgetful, after["refresh_token"])


async def test_the_grace_spans_the_change(
    opened: Tokens, client: Client, renewed: Client, database_url: str
) -> None:
    first = await refreshed(client, opened["refresh_token"])
    before = await stored(database_url, opened["session_id"])
    beside = opened["access_token"]
    answer = await refresh(renewed, opened["refresh_token"], access=beside)
    assert outcome(answer) == GOOD
    again = answer.json()
    # The session, generation and secret are the same; only the signing key differs.
    assert raw(again["refresh_token"])[:52] == raw(first["refresh_token"])[:52]
    assert await stored(database_url, opened["session_id"]) == before
    for each in (first, again):
        assert await access(renewed, each["access_token"]) == GOOD
        for other in (first, again):
            beside = other["access_token"]
            assert outcome(await refresh(renewed, each["refresh_token"], access=beside)) == GOOD


async def test_reuse_is_noticed_across_the_change(
    opened: Tokens, client: Client, renewed: Client, database_url: str
) -> None:
    first = await refreshed(client, opened["refresh_token"])
    await age(database_url, 60)
    second = await refreshed(renewed, first["refresh_token"])
    assert outcome(await refresh(renewed, opened["refresh_token"])) == REUSED
    assert outcome(await refresh(renewed, second["refresh_token"])) == NO_REFRESH
    assert await access(renewed, second["access_token"]) == NO_ACCESS


async def test_without_the_former_key_its_tokens_are_none(
    opened: Tokens, client: Client, forgetful: Client, database_url: str
) -> None:
    first = await refreshed(client, opened["refresh_token"])
    for each in (opened, first):
        assert await access(forgetful, each["access_token"]) == NO_ACCESS
        assert outcome(await refresh(forgetful, each["refresh_token"])) == NO_REFRESH
    # They are not treated as reused: with the former key, the session is still valid.
    assert (await stored(database_url, opened["session_id"]))["revoked_at"] is None
    await refreshed(client, first["refresh_token"])


async def test_several_former_keys(opened: Tokens, ada: Actor, keyed: Elsewhere) -> None:
    async with keyed(secret_key=NEWEST, secret_key_previous=f"{NEW}, {OLD}") as client:
        assert await access(client, opened["access_token"]) == GOOD
        assert await try_password(client, ada.email) == GOOD
        assert kid((await refreshed(client, opened["refresh_token"]))["access_token"]) == kid_of(
            NEWEST
        )


async def test_servers_that_change_one_after_the_other(
    opened: Tokens, ada: Actor, keyed: Elsewhere
) -> None:
    # The new key is first added to all servers as an additional one, then used.
    async with (
        keyed(secret_key=OLD, secret_key_previous=NEW) as before,
        keyed(secret_key=NEW, secret_key_previous=OLD) as after,
    ):
        held = opened
        for here, there in ((before, after), (after, before), (before, after)):
            rotated = await refreshed(here, held["refresh_token"])
            again = await refreshed(there, held["refresh_token"])
            assert raw(again["refresh_token"])[:52] == raw(rotated["refresh_token"])[:52]
            assert await access(there, rotated["access_token"]) == GOOD
            assert await try_password(here, ada.email) == GOOD
            held = again


async def test_a_page_goes_on(page: Page, renewed: Client, forgetful: Client) -> None:
    renewed.cookies = page.client.cookies
    assert (
        await renewed.patch(ME, json={"full_name": "Ada"}, headers=page.csrf)
    ).status_code == 200
    answer = await renewed.get(ME)
    assert answer.headers["X-CSRF-Token"] == page.login["csrf_token"]
    answer = await renewed.post(REFRESH, headers=page.csrf)
    assert outcome(answer) == GOOD
    csrf = {"X-CSRF-Token": answer.json()["csrf_token"]}
    assert csrf != page.csrf
    # All cookies are signed with the new key by now.
    forgetful.cookies = renewed.cookies
    assert (await forgetful.patch(ME, json={"full_name": None}, headers=csrf)).status_code == 200


async def test_a_page_ends_without_the_former_key(page: Page, forgetful: Client) -> None:
    forgetful.cookies = page.client.cookies
    # Its cookies are now indistinguishable from those of another application.
    assert outcome(await forgetful.get(ME)) == (401, "NOT_AUTHENTICATED")
    assert outcome(await forgetful.post(REFRESH, headers=page.csrf)) == NO_REFRESH


async def test_passwords_stay_good_and_are_renewed(
    ada: Actor, renewed: Client, forgetful: Client, database_url: str
) -> None:
    before, me = await password_hash(database_url, ada), (await ada.get(ME)).json()
    assert await try_password(forgetful, ada.email) == REFUSED
    assert await try_password(renewed, ada.email, "another password") == REFUSED
    assert await password_hash(database_url, ada) == before
    assert await try_password(renewed, ada.email) == GOOD
    after = await password_hash(database_url, ada)
    assert after.partition("$")[0] not in ("", before.partition("$")[0])
    # The account is otherwise unchanged, and the hash is renewed only once.
    assert (await ada.get(ME)).json() == me
    assert await try_password(renewed, ada.email) == GOOD
    assert await password_hash(database_url, ada) == after
    assert await try_password(forgetful, ada.email) == GOOD


async def test_those_who_sign_in_while_a_password_is_renewed_all_may(
    ada: Actor, renewed: Client
) -> None:
    tries = [try_password(renewed, ada.email) for _ in range(4)]
    assert await asyncio.gather(*tries) == [GOOD] * 4
    wrong = [try_password(renewed, ada.email, "another password") for _ in range(2)]
    assert await asyncio.gather(*wrong) == [REFUSED] * 2


async def test_a_new_password_is_kept_by_the_new_key(
    opened: Tokens, ada: Actor, renewed: Client, forgetful: Client
) -> None:
    headers = {"Authorization": f"Bearer {opened['access_token']}"}
    body = {"current_password": PASSWORD, "new_password": "a password of my own"}
    answer = await renewed.put(f"{ME}/password", json=body, headers=headers)
    assert answer.status_code == 204
    assert await try_password(forgetful, ada.email, body["new_password"]) == GOOD


async def test_sessions_outlive_the_renewal(opened: Tokens, ada: Actor, renewed: Client) -> None:
    # The password has not changed, so no other session ends.
    assert await try_password(renewed, ada.email) == GOOD
    assert await access(renewed, opened["access_token"]) == GOOD
    rows = (await ada.get(SESSIONS)).json()["data"]
    assert len(rows) == 3
