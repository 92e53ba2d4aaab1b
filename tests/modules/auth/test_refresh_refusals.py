"""Invalid refresh tokens are rejected without any effect."""

import string
from typing import Any
from uuid import UUID

import pytest

from tests.actors import Actor, Client
from tests.sessions import (
    NO_REFRESH,
    REFRESH,
    Tokens,
    encoded,
    outcome,
    raw,
    refresh,
    refreshed,
    reuse_events,
    sign_in,
    stored,
)

ALPHABET = f"{string.ascii_uppercase}{string.ascii_lowercase}{string.digits}-_"
GOOD = (200, None)


async def is_untouched(url: str, client: Client, token: str) -> None:
    """Assert that the session of this token, its current one, has neither rotated nor ended."""
    content = raw(token)
    row = await stored(url, UUID(bytes=content[:16]))
    assert (row["revoked_at"], row["generation"]) == (None, int.from_bytes(content[16:20], "big"))
    assert await reuse_events(url) == []
    assert outcome(await refresh(client, token)) == GOOD


def flipped(token: str) -> list[str]:
    content = raw(token)
    return [
        encoded(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        for at in range(len(content))
    ]


async def test_a_changed_token_is_none(opened: Tokens, client: Client, database_url: str) -> None:
    token = opened["refresh_token"]
    for changed in flipped(token):
        assert outcome(await refresh(client, changed)) == NO_REFRESH
    await is_untouched(database_url, client, token)


async def test_another_spelling_is_none(opened: Tokens, client: Client, database_url: str) -> None:
    token = opened["refresh_token"]
    last = ALPHABET.index(token[-1])
    others = [token[:-1] + ALPHABET[last + step] for step in (1, 2, 3)]
    # All decode to the same bytes, so only the spelling can be the reason of a rejection.
    assert [raw(other) for other in others] == [raw(token)] * 3
    others += [f"{token}=", f"{token}==", f" {token}", f"{token}\n", f"{token[:9]}\n{token[9:]}"]
    others += [token.replace("-", "+").replace("_", "/") + "="]
    for other in others:
        assert outcome(await refresh(client, other)) == NO_REFRESH, other
    await is_untouched(database_url, client, token)


async def test_garbage_is_none(opened: Tokens, client: Client, database_url: str) -> None:
    token = opened["refresh_token"]
    garbage = ["", " ", "x", "null", opened["access_token"], opened["session_id"], token * 10]
    garbage += ["A" * 91, "\N{GRINNING FACE}" * 91, "\u0661" * 91, "x" * 1000, token + "A"]
    garbage += [token[:length] for length in (1, 16, 90)] + [token[1:], token[::-1]]
    for each in garbage:
        assert outcome(await refresh(client, each)) == NO_REFRESH, each
    for size in (1001, 100_000):
        assert outcome(await refresh(client, "x" * size)) == (422, "VALIDATION_ERROR")
    await is_untouched(database_url, client, token)


async def test_a_session_id_is_no_credential(
    opened: Tokens, ada: Actor, bob: Actor, client: Client, database_url: str
) -> None:
    current = (await refreshed(client, opened["refresh_token"]))["refresh_token"]
    foreign = raw((await sign_in(client, bob.email))["refresh_token"])
    session, secret = raw(current)[:16], raw(current)[20:52]
    for forged in (
        session + foreign[16:],
        session + bytes(4) + foreign[20:],
        session + raw(current)[16:20] + bytes(48),
        session + bytes(4) + secret + foreign[52:],
        foreign[:20] + raw(current)[20:],
        ada.session_id.bytes + raw(current)[16:],
        # Shaped like a token of an older generation, but not issued by this application.
        session + bytes(4) + bytes(32) + bytes(16),
    ):
        assert outcome(await refresh(client, encoded(forged))) == NO_REFRESH
    await is_untouched(database_url, client, current)


@pytest.mark.parametrize("body", [None, {}, {"refresh_token": None}], ids=["none", "empty", "null"])
async def test_without_a_token(client: Client, body: Any) -> None:
    answer = await client.post(REFRESH, json=body)
    assert outcome(answer) == NO_REFRESH
    assert outcome(await client.post(REFRESH)) == NO_REFRESH


@pytest.mark.parametrize(
    "body",
    [{"refresh_token": 5}, {"refresh_token": ["x"]}, {"refresh_token": True}, [], "x"],
    ids=repr,
)
async def test_a_body_of_another_kind(client: Client, body: Any) -> None:
    assert outcome(await client.post(REFRESH, json=body)) == (422, "VALIDATION_ERROR")


async def test_unknown_members(opened: Tokens, client: Client, database_url: str) -> None:
    token = opened["refresh_token"]
    for name in ("session_id", "grant_type", "access_token"):
        answer = await client.post(REFRESH, json={"refresh_token": token, name: "x"})
        assert outcome(answer) == (422, "VALIDATION_ERROR")
        assert token not in answer.text
    answer = await client.post(REFRESH, data={"refresh_token": token})
    assert answer.status_code == 415
    await is_untouched(database_url, client, token)
