"""Cookies of other applications on the same host are ignored."""

import itertools
from datetime import timedelta
from typing import Any

import jwt
import pytest

from backend.core.context import Context
from backend.db.base import utc_now
from backend.modules.auth.tokens import issuer_of
from tests.actors import Actor, Client
from tests.applications import make_context
from tests.sessions import (
    LOGOUT,
    ME,
    NO_ACCESS,
    NO_REFRESH,
    REFRESH,
    access,
    bearer,
    outcome,
    sign_in,
)
from tests.web import ACCESS, COOKIE_LOGIN, CSRF, CSRF_FAILED, REFRESHING, Page, sign_in_by_cookie

ITEMS, PUBLIC = "/api/v1/items", "/api/v1/articles"
NOBODY = (401, "NOT_AUTHENTICATED")
TEA = {"title": "Tea"}
NAMES = (ACCESS, REFRESHING, CSRF)
TEXTS = ["broken", "a.b.c", "x" * 5000, '"', "%00", "é", "eyJhbGciOiJub25lIn0.e30.", "null"]


def cookies(*pairs: tuple[str, str | None]) -> list[tuple[bytes, bytes]]:
    """Return one Cookie header with these pairs in this order; a name may occur twice."""
    return [(b"Cookie", "; ".join(f"{name}={value}" for name, value in pairs).encode())]


def of_page(page: Page) -> list[tuple[str, str | None]]:
    return [(name, page.cookie(name)) for name in NAMES]


def foreign(context: Context, ada: Actor) -> dict[str, str]:
    """Return tokens that look like ours but were not issued by this application."""
    issuer, now = issuer_of(context), utc_now()
    elsewhere = make_context("postgresql://x", secret_key="y" * 32)
    other_issuer = make_context("postgresql://x", jwt_issuer="other")
    heard = make_context("postgresql://x", jwt_audience="other")
    body = jwt.decode(ada.token, options={"verify_signature": False})
    headers = {k: v for k, v in jwt.get_unverified_header(ada.token).items() if k != "alg"}
    key = context.key("access tokens")
    made = {
        name: issuer_of(each).issue(ada.id, ada.session_id, 0, issued=now, ttl=600)
        for name, each in {"key": elsewhere, "issuer": other_issuer, "audience": heard}.items()
    }
    assert issuer.issued(jwt.encode(body, key, "HS256", headers=headers))
    made["type"] = jwt.encode(body, key, "HS256", headers=headers | {"typ": "JWT"})
    made["unsigned"] = jwt.encode(body, "", "none", headers=headers)
    made["cut"] = ada.token[:-2]
    return made


@pytest.mark.parametrize("text", TEXTS)
async def test_alone_they_are_nobody(client: Client, text: str) -> None:
    sent = cookies(*((name, text) for name in NAMES))
    assert outcome(await client.get(ME, headers=sent)) == NOBODY
    assert (await client.get(PUBLIC, headers=sent)).status_code == 200
    assert outcome(await client.post(ITEMS, json=TEA, headers=sent)) == NOBODY
    for path, expected in ((REFRESH, NO_REFRESH), (LOGOUT, NOBODY)):
        refused = await client.post(path, headers=sent)
        assert outcome(refused) == expected
        # The cookies belong to another application, so they are not cleared.
        assert "set-cookie" not in refused.headers


async def test_what_looks_like_a_token_of_ours(
    ada: Actor, client: Client, context: Context
) -> None:
    for name, token in foreign(context, ada).items():
        sent = cookies((ACCESS, token))
        assert outcome(await client.get(ME, headers=sent)) == NOBODY, name
        assert (await client.get(PUBLIC, headers=sent)).status_code == 200, name
        made = await ada.post(ITEMS, json=TEA, headers=dict(sent_with(ada, sent)))
        assert made.status_code == 201, name


def sent_with(actor: Actor, sent: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [("Cookie", sent[0][1].decode()), *bearer(actor.token).items()]


@pytest.mark.parametrize("name", NAMES)
async def test_a_bearer_request_beside_them_is_one(ada: Actor, client: Client, name: str) -> None:
    headers = {"Cookie": f"{name}=foo", **bearer(ada.token)}
    assert (await client.get(ME, headers=headers)).json()["id"] == str(ada.id)
    # No CSRF token is required, whatever page the request comes from.
    for more in ({}, {"Origin": "http://localhost:1234"}, {"Sec-Fetch-Site": "cross-site"}):
        made = await client.post(ITEMS, json=TEA, headers=headers | more)
        assert made.status_code == 201
    assert "x-csrf-token" not in (await client.get(ME, headers=headers)).headers


async def test_sessions_of_bearers_beside_them(ada: Actor, client: Client) -> None:
    strays = {"Cookie": "; ".join(f"{name}=foo" for name in NAMES)}
    tokens = await sign_in(client, ada.email)
    body = {"refresh_token": tokens["refresh_token"]}
    headers = strays | bearer(tokens["access_token"])
    answer = await client.post(REFRESH, json=body, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["refresh_token"]
    token = answer.json()["access_token"]
    assert (await client.post(LOGOUT, headers=strays | bearer(token))).status_code == 204
    assert await access(client, token) == NO_ACCESS


async def test_a_bad_bearer_beside_them_stays_bad(ada: Actor, client: Client) -> None:
    for header in ("Bearer x", f"Bearer {ada.token[:-2]}", "Basic YTpi"):
        headers = {"Cookie": f"{ACCESS}=foo", "Authorization": header}
        for path in (ME, PUBLIC):
            assert outcome(await client.get(path, headers=headers)) == NO_ACCESS


@pytest.mark.parametrize("order", list(itertools.permutations(range(2))))
@pytest.mark.parametrize("name", NAMES)
async def test_ours_counts_beside_one_of_the_same_name(
    page: Page, client: Client, name: str, order: tuple[int, int]
) -> None:
    """Browsers send a cookie of `Path=/api` first, and one that was set later last."""
    own = of_page(page)
    twice = [(name, "foo"), (name, page.cookie(name))]
    sent = cookies(*(each for each in own if each[0] != name), *(twice[at] for at in order))
    csrf = [(b"X-CSRF-Token", page.login["csrf_token"].encode())]
    me = await client.get(ME, headers=sent)
    assert me.status_code == 200
    assert me.headers["x-csrf-token"] == page.login["csrf_token"]
    assert (await client.post(ITEMS, json=TEA, headers=sent + csrf)).status_code == 201
    assert (await client.post(REFRESH, headers=sent + csrf)).status_code == 200
    assert (await client.post(LOGOUT, headers=sent + csrf)).status_code == 204


async def test_two_of_ours_the_one_of_the_root_counts(
    ada: Actor, bob: Actor, page: Page, client: Client
) -> None:
    # Browsers send cookies with longer paths first; ours have the path `/`.
    sent = cookies((ACCESS, bob.token), *of_page(page))
    assert (await client.get(ME, headers=sent)).json()["id"] == str(ada.id)


async def test_one_of_ours_that_is_no_longer_good_is_never_nobody(
    ada: Actor, page: Page, client: Client, context: Context
) -> None:
    issued = utc_now() - timedelta(hours=2)
    old = issuer_of(context).issue(ada.id, ada.session_id, 0, issued=issued, ttl=60)
    ended = page.cookie(ACCESS)
    assert (await page.post(LOGOUT, headers=page.csrf)).status_code == 204
    for token, expected in ((old, (401, "TOKEN_EXPIRED")), (ended, NO_ACCESS)):
        for path in (ME, PUBLIC):
            for sent in (cookies((ACCESS, token)), cookies((ACCESS, token), (ACCESS, "foo"))):
                assert outcome(await client.get(path, headers=sent)) == expected
        headers = {"Cookie": f"{ACCESS}={token}", **bearer(ada.token)}
        assert outcome(await client.get(ME, headers=headers)) == expected


# --- Planted cookies have no effect


def planted(page: Page, *pairs: tuple[str, str | None]) -> list[list[tuple[str, str | None]]]:
    """Return the combinations a browser can send of a page's own cookies and planted ones."""
    own = of_page(page)
    names = {name for name, _ in pairs}
    instead = [each for each in own if each[0] not in names] + list(pairs)
    return [[*pairs, *own], [*own, *pairs], instead]


async def write(client: Client, sent: Any, token: str | None = None) -> tuple[int, str | None]:
    csrf = [(b"X-CSRF-Token", token.encode())] if token else []
    return outcome(await client.post(ITEMS, json=TEA, headers=cookies(*sent) + csrf))


async def test_a_forged_request_with_planted_cookies_writes_nothing(
    ada: Actor, page: Page, client: Client
) -> None:
    """The attacker's page sends Ada's cookies and planted ones, but has no token of Ada's."""
    known = ("foo", "0" * 64)
    for name in NAMES:
        for text in known:
            for sent in planted(page, (name, text)):
                for token in (None, *known):
                    assert await write(client, sent, token) in (CSRF_FAILED, NOBODY)
    assert (await ada.get(ITEMS)).json()["data"] == []


async def test_nor_does_a_pair_of_another_session(
    ada: Actor, bob: Actor, page: Page, client: Client
) -> None:
    """The attacker has an account and plants the cookies of its session."""
    other = await sign_in_by_cookie(Client(page.client._transport.app), bob.email)  # type: ignore[attr-defined]  # an attribute of ASGITransport
    csrf = other.cookie(CSRF)
    for sent in planted(page, (CSRF, csrf)):
        assert await write(client, sent, csrf) == CSRF_FAILED
    for pair in ((ACCESS, "foo"), (CSRF, csrf)), ((REFRESHING, "foo"), (CSRF, csrf)):
        for sent in planted(page, *pair):
            assert await write(client, sent, csrf) in (CSRF_FAILED, NOBODY)
    for sent in planted(page, (REFRESHING, "foo"), (CSRF, csrf))[:2]:
        headers = [*cookies(*sent), (b"X-CSRF-Token", (csrf or "").encode())]
        assert outcome(await client.post(REFRESH, headers=headers)) == CSRF_FAILED
    assert (await ada.get(ITEMS)).json()["data"] == []


async def test_signing_in_from_elsewhere_is_refused_beside_them(client: Client) -> None:
    headers = {"Cookie": f"{ACCESS}=foo; {CSRF}=foo", "X-CSRF-Token": "foo"}
    for more in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        body = {"email": "ada", "password": "a password"}
        refused = await client.post(COOKIE_LOGIN, json=body, headers=headers | more)
        assert outcome(refused) == CSRF_FAILED
