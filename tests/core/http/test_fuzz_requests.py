"""Arbitrary headers, queries and forms cause no 5xx and are never repeated in responses."""

from dataclasses import replace
from urllib.parse import quote_plus, urlencode
from uuid import uuid4

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.core.app import create_app
from tests.applications import MODULES
from tests.core.conftest import Served
from tests.core.http.test_fuzz import DOCUMENT
from tests.examples import examples
from tests.hostile import CANARY, RawResponse, raw

LOGIN = "/api/v1/auth/login"
GETS = sorted(path for path, methods in DOCUMENT["paths"].items() if "get" in methods)
# Headers that the application or its libraries read.
HEADERS = (
    *("accept", "authorization", "cookie", "content-type", "content-length", "content-encoding"),
    *("host", "origin", "sec-fetch-site", "x-csrf-token", "x-request-id", "user-agent", "range"),
    *("if-match", "if-none-match", "idempotency-key", "transfer-encoding", "expect", "upgrade"),
    *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-prefix", "x-forwarded-host"),
    *("access-control-request-method", "access-control-request-headers", "traceparent"),
)
PARTS = st.sampled_from(
    [
        *(b"", b" ", b";", b",", b"=", b'"', b"\\", b"\\101", b"/", b"//", b"..", b"*", b":", b"@"),
        *(b"\t", b"\x7f", b"\xe9", b"\xff\xfe", b"%00", b"%", b"a" * 300, b"9" * 30, b"-1"),
        *(b"Bearer ", b"Basic ", b"q=0", b"q=", b"charset=", b"boundary=", b"application/json"),
        *(b"access_token=", b"__Host-access_token=", b"refresh_token=", b"csrf_token="),
        *(b"127.0.0.1", b"::1", b"[", b"]", b"null", b"http://", b"https", b"chunked", b"W/"),
    ]
)
VALUES = st.lists(PARTS | st.binary(max_size=6), max_size=8).map(
    lambda parts: b"".join(parts).translate(None, b"\r\n\0")
)
LINES = st.tuples(st.sampled_from(HEADERS), VALUES).map(
    # Without `<`, a safe request id or prefix is repeated in the response, as it should be.
    lambda line: (line[0].encode(), line[1] + CANARY.encode() + b"<")
)
NAMES = st.sampled_from(
    [
        *("q", "limit", "offset", "cursor", "sort", "fields", "total", "include", "transport"),
        *("status", "role", "is_active", "author_id", "owner_id", "created_after", "action", "ip"),
    ]
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    [
        *(
            "or " * 50,
            '"' * 50,
            "-a " * 50,
            "\0",
            "%",
            "_\\",
            "a:*&!(",
            "9" * 40,
            "-1",
            "1e9",
            "nan",
        ),
        *(
            "title,-title",
            "id,id",
            "-",
            "2026-01-01T00:00:00Z",
            "2026-13-01",
            "true",
            "\u0301" * 90,
        ),
    ]
)
QUERIES = st.lists(st.tuples(NAMES | TEXTS, TEXTS), max_size=5)
FIELDS = st.sampled_from(["username", "password", "grant_type", "scope", "client_id", "x"])
FORMS = st.lists(st.tuples(FIELDS | TEXTS, TEXTS), max_size=6).map(
    lambda pairs: urlencode(pairs).encode()
) | st.binary(max_size=60)
FORM = (b"content-type", b"application/x-www-form-urlencoded")
slowly = settings(
    max_examples=examples(100),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def proxied(served: Served) -> FastAPI:
    """The same application behind a proxy that passes on all headers of its clients."""
    trusting = served.context.settings.model_copy(update={"trusted_proxies": ("127.0.0.1",)})
    return create_app(replace(served.context, settings=trusting), MODULES)


def check(answer: RawResponse) -> None:
    assert answer.status < 500, answer.body
    if answer.status >= 400:
        assert CANARY.encode() not in answer.body
        assert not any(CANARY.encode() in value for value in answer.headers.values())


def filled(path: str) -> str:
    return path.replace("{id}", str(uuid4())).replace("{name}", "admin").replace("{code}", "X")


@slowly
@given(
    path=st.sampled_from(GETS),
    method=st.sampled_from(["GET", "HEAD", "OPTIONS", "DELETE"]),
    lines=st.lists(LINES, min_size=1, max_size=4),
    known=st.booleans(),
)
async def test_no_headers_are_our_failure(
    served: Served,
    proxied: FastAPI,
    path: str,
    method: str,
    lines: list[tuple[bytes, bytes]],
    known: bool,
) -> None:
    names = [name for name, _ in lines]
    if known and b"authorization" not in names:
        lines = [*lines, (b"authorization", f"Bearer {served.member.token}".encode())]
    for app in (served.app, proxied):
        check(await raw(app, method, filled(path), headers=lines, host=b"host" not in names))


@slowly
@given(path=st.sampled_from(GETS), pairs=QUERIES)
async def test_no_query_is_our_failure(
    served: Served, path: str, pairs: list[tuple[str, str]]
) -> None:
    sent = "&".join(f"{quote_plus(name)}={quote_plus(value + CANARY)}" for name, value in pairs)
    token = (b"authorization", f"Bearer {served.admin.token}".encode())
    for query in (sent, sent.replace(CANARY, "")):
        answer = await raw(served.app, "GET", filled(path), headers=[token], query=query.encode())
        check(answer)


@slowly
@given(form=FORMS)
async def test_no_form_is_our_failure(served: Served, form: bytes) -> None:
    check(await raw(served.app, "POST", LOGIN, headers=[FORM], chunks=[form]))
