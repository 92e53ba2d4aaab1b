"""Requests with ambiguous or expensive headers are rejected."""

import gzip
import json

import pytest

from tests.core.conftest import Served
from tests.hostile import CANARY, raw

ITEMS = "/api/v1/items"
ARTICLES = "/api/v1/articles"
JSON = (b"content-type", b"application/json")
PATHS = ("/health", "/nowhere", ARTICLES, ITEMS, "/docs")


def bearer(served: Served) -> tuple[bytes, bytes]:
    return b"authorization", f"Bearer {served.member.token}".encode()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["host", "content-type", "content-length"])
@pytest.mark.parametrize("second", ["same", "other"])
async def test_two_lines_of_what_there_is_one_of(
    served: Served, path: str, name: str, second: str
) -> None:
    usual = {"host": b"testserver", "content-type": b"application/json", "content-length": b"2"}
    value = usual[name] if second == "same" else f"1{CANARY}".encode()
    lines = [(name.encode(), usual[name]), (b"x", b"y"), (name.encode(), value)]
    answer = await raw(served.app, "GET", path, headers=lines, host=name != "host")
    assert (answer.status, answer.json()["error"]) == (400, "BAD_REQUEST")
    assert CANARY.encode() not in answer.body


@pytest.mark.parametrize("path", PATHS)
async def test_two_lines_of_authorization(served: Served, path: str) -> None:
    own, other = bearer(served), (b"authorization", b"Basic Og==")
    for lines in ([own, own], [own, other], [other, own], [own, (b"cookie", b"a=b"), own]):
        answer = await raw(served.app, "GET", path, headers=lines)
        assert (answer.status, answer.json()["error"]) == (401, "INVALID_TOKEN")
        assert answer.headers[b"www-authenticate"].startswith(b"Bearer")
    assert (await raw(served.app, "GET", ITEMS, headers=[own])).status == 200


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b" ", b"@", b"ada@testserver", b"ada:pw@testserver", b"testserver@evil.example"),
        *(b"testserver/x", b"testserver?x", b"testserver#x", b"a b", b"a,b", b"a\tb", b"<a>"),
        *(b"testserver:x", b"testserver:-1", b"testserver:65536", b"testserver:999999999", b":80"),
        *(b"::1", b"[::1", b"[::1]x", b"[g]", b"a:1:2", b"\xc3\xa9.example", b"a%00", b"a\\b"),
    ],
)
async def test_what_is_no_host(served: Served, value: bytes) -> None:
    for path in ("/health", ARTICLES):
        answer = await raw(served.app, "GET", path, headers=[(b"host", value)], host=False)
        assert (answer.status, answer.json()["error"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "value",
    [
        *(b"testserver", b"testserver:80", b"testserver:", b"TESTSERVER:65535", b"localhost."),
        *(b"127.0.0.1:8000", b"[::1]", b"[::1]:8000", b"my_service-1.internal", b"xn--caf-dma.eu"),
    ],
)
async def test_hosts(served: Served, value: bytes) -> None:
    answer = await raw(served.app, "GET", "/health", headers=[(b"host", value)], host=False)
    assert answer.status == 200


async def test_a_host_is_named(served: Served) -> None:
    answer = await raw(served.app, "GET", "/health", host=False)
    assert (answer.status, answer.json()["error"]) == (400, "BAD_REQUEST")
    assert (await raw(served.app, "GET", "/health", host=False, version="1.0")).status == 200
    for version in ("0.9", "2.0"):
        answer = await raw(served.app, "GET", "/health", host=False, version=version)
        assert (answer.status, answer.json()["error"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("coding", ["gzip, chunked", "chunked, chunked", "identity", "x", ""])
async def test_transfer_codings_that_nobody_decodes(served: Served, coding: str) -> None:
    lines = [JSON, bearer(served), (b"transfer-encoding", coding.encode())]
    answer = await raw(served.app, "POST", ITEMS, headers=lines, chunks=[b'{"title": "x"}'])
    assert (answer.status, answer.json()["error"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked"])
async def test_chunked_bodies_are_those_of_http_1_1(served: Served, coding: bytes) -> None:
    line, body = (b"transfer-encoding", coding), [b'{"title": "x"}']
    usual = [JSON, bearer(served), line]
    assert (await raw(served.app, "POST", ITEMS, headers=usual, chunks=body)).status == 201
    for lines, version in ((usual, "1.0"), ([*usual, line], "1.1")):
        answer = await raw(served.app, "POST", ITEMS, headers=lines, chunks=body, version=version)
        assert (answer.status, answer.json()["error"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "coding", ["gzip", "br", "GZIP", "deflate", "zstd", "x", "identity, gzip", "gzip, gzip"]
)
async def test_a_body_that_would_have_to_be_decoded(served: Served, coding: str) -> None:
    headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
    body = gzip.compress(json.dumps({"title": "x"}).encode())
    for method, path in (
        *(("POST", ITEMS), ("PATCH", "/api/v1/users/me"), ("POST", "/api/v1/auth/login")),
        *(("POST", "/api/v1/auth/refresh"), ("POST", "/api/v1/auth/register")),
    ):
        answer = await served.member.request(method, path, content=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
        assert answer.headers["accept-encoding"] == "identity"
    # Authentication comes first.
    stranger = await served.anonymous.post(ITEMS, content=body, headers=headers)
    assert stranger.status_code == 401


async def test_codings_that_change_nothing(served: Served) -> None:
    for coding in ("identity", "Identity", "", "identity, identity"):
        headers = {"Content-Encoding": coding}
        answer = await served.member.post(ITEMS, json={"title": "x"}, headers=headers)
        assert answer.status_code == 201
    split = [(b"content-encoding", b"identity"), (b"content-encoding", b"gzip")]
    answer = await raw(served.app, "POST", ITEMS, headers=[JSON, bearer(served), *split])
    assert answer.status == 415


async def test_cookies_with_escapes_are_none(served: Served) -> None:
    """Decoding the escapes of a cookie of 60 KiB would block all requests for half a minute."""
    own = bearer(served)[1].removeprefix(b"Bearer ")
    escaped = b'access_token="' + b"".join(b"\\%03o" % byte for byte in own) + b'"'
    answer = await raw(served.app, "GET", ITEMS, headers=[(b"cookie", escaped)])
    assert (answer.status, answer.json()["error"]) == (401, "NOT_AUTHENTICATED")
    for line in (b"access_token=" + own, escaped + b"; access_token=" + own + b'; a="\\"'):
        assert (await raw(served.app, "GET", ITEMS, headers=[(b"cookie", line)])).status == 200
    long = b'a="' + b'\\"' * 30_000 + b'"'
    assert (await raw(served.app, "GET", ARTICLES, headers=[(b"cookie", long)])).status == 200
