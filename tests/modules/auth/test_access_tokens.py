"""The contents of access tokens, and the rejection of all other tokens."""

import base64
import hashlib
import hmac
import json
import string
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from backend.core.context import Context
from backend.modules.auth.tokens import issuer_of
from tests.actors import Actor, Client
from tests.applications import make_context

ME = "/api/v1/users/me"
PUBLIC = "/api/v1/articles"
CLAIMS = {"iss", "aud", "sub", "sid", "jti", "iat", "exp"}
ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
DIGESTS: dict[str, Any] = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}


def encoded(part: dict[str, Any]) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")


def read(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header = jwt.get_unverified_header(token)
    return header, jwt.decode(token, options={"verify_signature": False})


def made(header: dict[str, Any], claims: dict[str, Any], key: bytes, digest: str = "HS256") -> str:
    """Return a token of any content, signed with HMAC whatever algorithm its header names."""
    signed = encoded(header) + b"." + encoded(claims)
    signature = hmac.digest(key, signed, DIGESTS[digest])
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


async def refusal(client: Client, authorization: str | bytes, path: str = ME) -> str:
    """Return the error code of the response to this `Authorization` header."""
    answer = await client.get(path, headers=[(b"Authorization", _bytes(authorization))])
    assert answer.status_code == 401, answer.text
    assert answer.headers["www-authenticate"].startswith("Bearer")
    code: str = answer.json()["error"]
    return code


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


@pytest.fixture
def key(context: Context) -> bytes:
    return issuer_of(context).keys[0]


async def test_what_a_token_holds(ada: Actor) -> None:
    header, claims = read(ada.token)
    assert header.keys() == {"alg", "typ", "kid"}
    assert (header["alg"], header["typ"]) == ("HS256", "at+jwt")
    assert claims.keys() == CLAIMS
    assert (claims["sub"], claims["sid"]) == (str(ada.id), str(ada.session_id))
    assert claims["exp"] - claims["iat"] == 1800
    assert isinstance(claims["exp"], int)


async def test_no_two_tokens_share_a_jti(ada: Actor, bob: Actor) -> None:
    assert read(ada.token)[1]["jti"] != read(bob.token)[1]["jti"]


async def test_the_same_content_signed_again_is_accepted(
    ada: Actor, client: Client, key: bytes
) -> None:
    # Proves that the tokens below are rejected for their changes only.
    header, claims = read(ada.token)
    answer = await client.get(ME, headers={"Authorization": f"Bearer {made(header, claims, key)}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("path", [ME, PUBLIC])
@pytest.mark.parametrize("claim", sorted(CLAIMS))
async def test_every_claim_is_required(
    ada: Actor, client: Client, key: bytes, claim: str, path: str
) -> None:
    header, claims = read(ada.token)
    for value in (None, "missing"):
        changed = {**claims, claim: value}
        if value:
            del changed[claim]
        token = made(header, changed, key)
        assert await refusal(client, f"Bearer {token}", path) == "INVALID_TOKEN"


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("iss", "somebody else"),
        ("iss", ["trellis"]),
        ("aud", "somebody else"),
        ("aud", []),
        ("sub", "ada"),
        ("sub", 5),
        ("sub", "0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a"),
        ("sid", "ada"),
        ("sid", {}),
        ("sid", "0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a"),
        ("iat", "now"),
        ("exp", "never"),
        ("exp", []),
    ],
)
async def test_a_claim_of_the_wrong_value(
    ada: Actor, client: Client, key: bytes, claim: str, value: Any
) -> None:
    header, claims = read(ada.token)
    token = made(header, {**claims, claim: value}, key)
    assert await refusal(client, f"Bearer {token}") == "INVALID_TOKEN"


async def test_one_users_session_does_not_carry_anothers_name(
    ada: Actor, bob: Actor, client: Client, key: bytes
) -> None:
    header, claims = read(ada.token)
    token = made(header, {**claims, "sub": str(bob.id)}, key)
    assert await refusal(client, f"Bearer {token}") == "INVALID_TOKEN"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("typ", "JWT"),
        ("typ", None),
        ("typ", "rt+jwt"),
        ("kid", "00000000"),
        ("kid", None),
        ("kid", "../../etc/passwd"),
        ("alg", "RS256"),
        ("alg", "HS512"),
        ("alg", "none"),
        ("alg", None),
        ("alg", "hs256"),
    ],
)
async def test_a_header_of_the_wrong_value(
    ada: Actor, client: Client, key: bytes, member: str, value: str | None
) -> None:
    header, claims = read(ada.token)
    changed = {**header, member: value}
    if value is None:
        del changed[member]
    assert await refusal(client, f"Bearer {made(changed, claims, key)}") == "INVALID_TOKEN"


async def test_another_algorithm_with_the_right_key(ada: Actor, client: Client, key: bytes) -> None:
    header, claims = read(ada.token)
    token = made({**header, "alg": "HS512"}, claims, key, "HS512")
    assert await refusal(client, f"Bearer {token}") == "INVALID_TOKEN"
    for alg in ("none", "None", "NONE"):
        unsigned = (encoded({**header, "alg": alg}) + b"." + encoded(claims) + b".").decode()
        assert await refusal(client, f"Bearer {unsigned}") == "INVALID_TOKEN"


async def test_another_key(ada: Actor, client: Client, key: bytes, context: Context) -> None:
    header, claims = read(ada.token)
    for other in (
        b"",
        b"secret",
        key[:-1],
        context.secret_keys[0],
        context.key("cursors"),
        key.hex(),
    ):
        token = made(header, claims, _bytes(other))
        assert await refusal(client, f"Bearer {token}") == "INVALID_TOKEN"


async def test_a_token_of_another_installation(ada: Actor, client: Client) -> None:
    other = make_context("postgresql://nowhere", secret_key="another key of the same length as it")
    token = issuer_of(other).issue(ada.id, ada.session_id, 0, issued=datetime.now(UTC), ttl=60)
    assert await refusal(client, f"Bearer {token}") == "INVALID_TOKEN"


async def test_a_changed_token(ada: Actor, client: Client) -> None:
    header, payload, signature = ada.token.split(".")
    admin_claims = encoded({**read(ada.token)[1], "permissions": ["users:admin"]}).decode()
    for token in (
        f"{header}.{admin_claims}.{signature}",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}.{payload}.{signature[:-2]}",
        f"{header}.{payload}.{signature}.{signature}",
        f"{payload}.{header}.{signature}",
        f".{payload}.{signature}",
    ):
        assert await refusal(client, f"Bearer {token}") == "INVALID_TOKEN"


@pytest.mark.parametrize("path", [ME, PUBLIC, "/api/v1/auth/register"])
@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer a.b.c",
        "Bearer ....",
        "Bearer null",
        b"Bearer \xff\xfe",
        "Bearer \N{GRINNING FACE}".encode(),
        "Basic YWRhOnBhc3N3b3Jk",
        "Digest x",
        "Token x",
        "x",
        "",
        "Bearer " + "x" * 5000,
        "Bearer " + "." * 3000,
        "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x",
        "Bearer W10.e30.x",
        "Bearer bnVsbA.bnVsbA.bnVsbA",
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_what_is_no_token_is_never_anonymous(
    client: Client, authorization: str | bytes, path: str
) -> None:
    method = "POST" if path.endswith("register") else "GET"
    headers = [(b"Authorization", _bytes(authorization))]
    answer = await client.request(method, path, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"] == "INVALID_TOKEN"
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_the_scheme_is_written_in_any_case(ada: Actor, client: Client) -> None:
    for scheme in ("bearer", "BEARER", "Bearer"):
        answer = await client.get(ME, headers={"Authorization": f"{scheme} {ada.token}"})
        assert answer.status_code == 200


async def test_a_token_is_not_taken_from_elsewhere(ada: Actor, client: Client) -> None:
    answer = await client.get(ME, params={"access_token": ada.token})
    assert answer.status_code == 401
    assert answer.json()["error"] == "NOT_AUTHENTICATED"


async def test_an_expired_token(ada: Actor, client: Client, context: Context) -> None:
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    token = issuer_of(context).issue(ada.id, ada.session_id, 0, issued=an_hour_ago, ttl=3599)
    for path in (ME, PUBLIC):
        assert await refusal(client, f"Bearer {token}", path) == "TOKEN_EXPIRED"


async def test_a_token_that_was_good_a_moment_ago(
    ada: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await ada.get(ME)).status_code == 200
    expires = read(ada.token)[1]["exp"]
    for now, status in ((expires - 1, 200), (expires, 401), (expires + 1, 401)):
        monkeypatch.setattr(time, "time", lambda now=now: float(now))
        answer = await ada.get(ME)
        assert answer.status_code == status
        assert answer.json().get("error") == (None if status == 200 else "TOKEN_EXPIRED")


async def test_expired_and_forged_is_forged(ada: Actor, client: Client) -> None:
    header, claims = read(ada.token)
    token = made(header, {**claims, "exp": 1}, b"another key")
    assert await refusal(client, f"Bearer {token}") == "INVALID_TOKEN"


async def test_a_token_has_one_spelling(ada: Actor, client: Client) -> None:
    last = ALPHABET.index(ada.token[-1])
    others = [ada.token[:-1] + ALPHABET[last ^ bits] for bits in (1, 2, 3)]
    for token in (*others, f"{ada.token}=", f"{ada.token[:-3]}*{ada.token[-3:]}"):
        assert await refusal(client, f"Bearer {token}") == "INVALID_TOKEN"


async def test_a_broken_token_is_not_looked_at_for_health(client: Client) -> None:
    for path in ("/health", "/health/live", "/health/ready", "/openapi.json"):
        answer = await client.get(path, headers={"Authorization": "Bearer broken"})
        assert answer.status_code == 200


async def test_the_clock_of_another_host_may_be_ahead(ada: Actor, context: Context) -> None:
    issued = datetime.now(UTC) + timedelta(seconds=5)
    token = issuer_of(context).issue(ada.id, ada.session_id, 0, issued=issued, ttl=60)
    answer = await ada.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
