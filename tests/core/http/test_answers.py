"""Every response keeps the HTTP contract, whichever layer sends it."""

import json
import platform
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
import structlog
from fastapi import FastAPI, HTTPException
from starlette.responses import StreamingResponse

from backend.core.authorization import public
from backend.core.errors import all_errors, error_responses
from backend.core.http.routing import Router
from backend.core.module import Module
from backend.db.errors import DatabaseUnavailableError
from tests.applications import MODULES, make_app, make_context
from tests.contract import PROBLEM_MEMBERS
from tests.core.conftest import Served
from tests.hostile import CANARY, raw

API = "/api/v1"
NOBODYS = f"{API}/items/0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a"
ORIGIN = "https://app.example.com"
HOST = "api.example.com"
READABLE = (
    "X-Request-ID, ETag, Location, Link, Retry-After, RateLimit, RateLimit-Policy, "
    "Idempotency-Replayed, WWW-Authenticate, Content-Disposition, X-CSRF-Token"
)
ACCEPTED = (
    "Authorization, Content-Type, X-CSRF-Token, If-Match, If-None-Match, Idempotency-Key, "
    "X-Request-ID, traceparent, tracestate"
)
NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"

odd = Router(prefix="/made-odd", tags=["made_odd"], dependencies=[public])


@odd.get("/crash")
async def crash() -> None:
    password = CANARY
    raise RuntimeError(f"broken at {len(password)}")


@odd.get("/unavailable", responses=error_responses())
async def unavailable() -> None:
    raise DatabaseUnavailableError


@odd.get("/driver")
async def driver() -> None:
    raise psycopg.errors.UndefinedTable(f"no such table: {CANARY}")


@odd.get("/teapot")
async def teapot() -> None:
    raise HTTPException(418, CANARY, headers={"X-Tea": "green"})


@odd.get("/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"begun"
        raise RuntimeError("midway")

    return StreamingResponse(parts())


ODD = Module("made_odd", router=odd, versioned=False)


def app_of(**settings: Any) -> FastAPI:
    """A started application whose database no longer exists."""
    context = make_context("postgresql://127.0.0.1:1/none", **settings)
    context.state.started = True
    return make_app(context, [*MODULES, ODD])


@asynccontextmanager
async def calling(app: FastAPI, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose responses are not checked against OpenAPI, which lacks the odd routes."""
    transport = httpx.ASGITransport(app=app)
    url = f"http://{headers.pop('host', 'testserver')}"
    async with httpx.AsyncClient(transport=transport, base_url=url, headers=headers) as client:
        yield client


@pytest.fixture(scope="module")
def production() -> FastAPI:
    return app_of(environment="production", cors_origins=(ORIGIN,), allowed_hosts=(HOST,))


@pytest.fixture(scope="module")
def development() -> FastAPI:
    return app_of(environment="development", cors_origins=(ORIGIN,))


@pytest.fixture(autouse=True)
def events() -> Iterator[list[structlog.typing.EventDict]]:
    """The log events as the processors after the first see them."""
    merge = structlog.contextvars.merge_contextvars
    with structlog.testing.capture_logs(processors=[merge]) as captured:
        yield captured


LAYERS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "/nowhere", {}, 404, "NOT_FOUND"),
    ("GET", f"{API}/nowhere/", {}, 404, "NOT_FOUND"),
    ("PUT", f"{API}/items", {}, 405, "METHOD_NOT_ALLOWED"),
    ("OPTIONS", f"{API}/items", {}, 405, "METHOD_NOT_ALLOWED"),
    ("GET", f"{API}/users/me", {}, 401, "NOT_AUTHENTICATED"),
    ("GET", f"{API}/articles", {"headers": {"Authorization": "Bearer x"}}, 401, "INVALID_TOKEN"),
    ("GET", "/health", {"headers": {"Accept": "text/html"}}, 406, "NOT_ACCEPTABLE"),
    ("GET", "/health?x=1", {}, 422, "VALIDATION_ERROR"),
    ("GET", f"{API}/articles?cursor=x", {}, 400, "INVALID_CURSOR"),
    ("GET", f"{API}/articles/x", {}, 404, "NOT_FOUND"),
    ("POST", f"{API}/auth/login", {"content": "x"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    ("POST", f"{API}/auth/login", {"json": "x" * 2**20}, 413, "PAYLOAD_TOO_LARGE"),
    ("POST", f"{API}/auth/login", {"json": {}}, 422, "VALIDATION_ERROR"),
    ("POST", f"{API}/auth/register", {"json": {"email": 1}}, 422, "VALIDATION_ERROR"),
    ("GET", "/errors/NO_SUCH_CODE", {}, 404, "NOT_FOUND"),
    ("GET", f"{API}/articles", {}, 503, "SERVICE_UNAVAILABLE"),
    ("GET", "/made-odd/unavailable", {}, 503, "SERVICE_UNAVAILABLE"),
    ("GET", "/made-odd/crash", {}, 500, "INTERNAL_ERROR"),
    ("GET", "/made-odd/driver", {}, 500, "INTERNAL_ERROR"),
    ("GET", "/made-odd/teapot", {}, 418, "IM_A_TEAPOT"),
]


@pytest.mark.parametrize(
    ("method", "url", "options", "status", "code"), LAYERS, ids=lambda value: str(value)[:40]
)
async def test_every_layer_answers_with_a_problem_document(
    production: FastAPI, method: str, url: str, options: dict[str, Any], status: int, code: str
) -> None:
    async with calling(production, host=HOST, origin=ORIGIN) as client:
        answer = await client.request(method, url, **options)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem.keys() - {"errors"} == PROBLEM_MEMBERS
    assert (problem["status"], problem["error"]) == (status, code)
    assert problem["type"] == f"/errors/{code}"
    assert problem["title"].upper().replace(" ", "_") == code
    assert problem["detail"]
    assert problem["instance"] == problem["path"] == url.partition("?")[0]
    age = datetime.now(UTC) - datetime.fromisoformat(problem["timestamp"])
    assert problem["timestamp"].endswith("Z")
    assert timedelta(0) <= age < timedelta(minutes=1)
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert ("errors" in problem) == (status == 422)
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-security-policy"] == NO_CONTENT
    assert CANARY not in answer.text
    if status == 503:
        assert int(answer.headers["retry-after"]) >= 1


async def test_a_crash_says_more_in_development_only(
    production: FastAPI, development: FastAPI
) -> None:
    async with calling(production, host=HOST) as client:
        detail = (await client.get("/made-odd/crash")).json()["detail"]
        assert (
            detail == "The server failed to process the request. The log has details by request id."
        )
    async with calling(development) as client:
        assert (await client.get("/made-odd/crash")).json()[
            "detail"
        ] == "RuntimeError: broken at 10"


async def test_an_answer_that_breaks_midway_breaks_the_connection(production: FastAPI) -> None:
    async with calling(production, host=HOST) as client:
        with pytest.raises(RuntimeError, match="midway"):
            await client.get("/made-odd/stream")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (f"{API}/items", "GET, HEAD, POST"),
        (f"{API}/items/", "GET, HEAD, POST"),
        (NOBODYS, "DELETE, GET, HEAD, PATCH"),
        (f"{API}/users/me", "DELETE, GET, HEAD, PATCH, PUT"),
        (f"{API}/articles/0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a/publish", "POST"),
        (f"{API}/users/export", "GET, HEAD"),
        (f"{API}/items/bulk", "POST"),
        ("/health/live", "GET, HEAD"),
        ("/errors/NOT_FOUND", "GET, HEAD"),
    ],
)
async def test_allow_names_every_method_of_the_path(
    served: Served, path: str, allowed: str
) -> None:
    answer = await raw(served.app, "PURGE", path)
    assert answer.status == 405
    assert answer.headers[b"allow"].decode() == allowed
    for method in allowed.split(", "):
        assert (await raw(served.app, method, path)).status != 405


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", f"{API}/users/export", "GET, HEAD"),
        ("PATCH", f"{API}/users/statistics/", "GET, HEAD"),
        ("GET", f"{API}/users/bulk", "POST"),
        ("GET", f"{API}/items/bulk", "POST"),
        ("DELETE", f"{API}/items/bulk", "POST"),
    ],
)
async def test_a_path_without_parameters_is_no_id(
    served: Served, method: str, path: str, allowed: str
) -> None:
    body: dict[str, Any] = {"json": {}} if method == "PATCH" else {}
    refused = await served.admin.request(method, path, **body)
    assert (refused.status_code, refused.headers["allow"]) == (405, allowed)
    elsewhere = path.rstrip("/") + "x"
    assert (await served.admin.request(method, elsewhere, **body)).status_code == 404


async def test_every_code_is_explained_where_its_type_points(served: Served) -> None:
    codes = {error.code: error.status for error in all_errors() if "NOTE" not in error.code}
    assert {"NOT_FOUND", "USER_NOT_FOUND", "INVALID_CURSOR", "SERVICE_UNAVAILABLE"} <= codes.keys()
    for code in codes:
        answer = await served.anonymous.get(f"/errors/{code}")
        assert answer.status_code == 200
        assert answer.json().keys() == {"code", "status", "title", "detail"}
        assert answer.json()["code"] == code


@pytest.mark.parametrize("code", ["NOPE", "not_found", "%00", "..", "NOT_FOUND%20", "x" * 5000])
async def test_other_codes_are_not(served: Served, code: str) -> None:
    assert (await served.anonymous.get(f"/errors/{code}")).status_code == 404


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ("/a%20b", "/a%20b"),
        ("/%C3%A4/%E2%98%83", "/%C3%A4/%E2%98%83"),
        ("/%3Cscript%3E%22", "/%3Cscript%3E%22"),
        ("/a;b=1,c@d:e!$&'()*+~", "/a;b=1,c@d:e!$&'()*+~"),
        ("/a%3Fb%23c%25", "/a%3Fb%23c%25"),
        ("/a//b///", "/a//b///"),
        (f"/a?{CANARY}=1", "/a"),
    ],
)
async def test_the_path_is_told_encoded_and_without_query(
    served: Served, sent: str, path: str
) -> None:
    problem = (await served.anonymous.get(sent)).json()
    assert problem["path"] == problem["instance"] == path


@pytest.mark.parametrize("path", [f"{API}/articles", "/health", "/health/live", "/errors/CONFLICT"])
async def test_both_forms_of_an_address_answer_alike(served: Served, path: str) -> None:
    bare, slashed = await served.anonymous.get(path), await served.anonymous.get(f"{path}/")
    assert bare.status_code == slashed.status_code == 200
    assert bare.content == slashed.content
    with_query = await served.anonymous.get(f"{API}/articles/?limit=1&fields=id")
    assert with_query.status_code == 200


async def test_writing_to_the_form_with_a_slash(served: Served) -> None:
    made = await served.member.post(f"{API}/items/", json={"title": "x"})
    assert made.status_code == 201
    assert not made.headers["location"].endswith("/")
    path = f"{made.headers['location']}/"
    assert (await served.member.patch(path, json={"title": "y"})).json()["title"] == "y"
    assert (await served.member.delete(path)).status_code == 204
    gone = await served.member.get(path)
    assert (gone.status_code, gone.json()["path"]) == (404, path)


async def test_head_is_get_without_a_body(served: Served) -> None:
    made = await served.member.post(f"{API}/items", json={"title": "x"})
    ours = {"x-request-id", "content-length"}
    for path in (
        *(f"{API}/items?limit=1", f"{API}/articles/", "/health", "/nowhere", NOBODYS),
        *(
            made.headers["location"],
            f"{API}/users",
            f"{API}/items?limit=x",
            "/docs",
            "/openapi.json",
        ),
    ):
        got, headed = await served.member.get(path), await served.member.head(path)
        assert headed.status_code == got.status_code
        assert headed.content == b""
        assert got.content
        assert headed.headers.keys() == got.headers.keys()
        bodies = [
            {name: value for name, value in each.headers.items() if name not in ours}
            for each in (got, headed)
        ]
        assert bodies[0] == bodies[1]
        if got.status_code == 200:
            assert headed.headers["content-length"] == got.headers["content-length"]
    assert (await served.member.head(f"{API}/auth/logout")).status_code == 405


@pytest.mark.parametrize("path", ["/health", "/nowhere", "/made-odd/crash", f"{API}/users/me"])
async def test_security_headers(production: FastAPI, development: FastAPI, path: str) -> None:
    async with calling(production, host=HOST) as client:
        outside = (await client.get(path)).headers
    async with calling(development) as client:
        inside = (await client.get(path)).headers
    for headers in (outside, inside):
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"] == NO_CONTENT
        assert "server" not in headers
        assert all(len(headers.get_list(name)) == 1 for name in headers)
    assert outside["strict-transport-security"].startswith("max-age=31536000")
    assert "strict-transport-security" not in inside


async def test_pages_have_a_policy_of_their_own(development: FastAPI) -> None:
    async with calling(development) as client:
        for path in ("/docs", "/redoc"):
            page = await client.get(path)
            assert page.status_code == 200
            assert "'self'" in page.headers["content-security-policy"]
            assert "http" not in page.headers["content-security-policy"]
        assert (await client.get("/openapi.json")).json()["openapi"].startswith("3.")


@pytest.mark.parametrize("environment", ["production", "staging", "test", "development"])
async def test_documentation_is_closed_in_production(environment: str) -> None:
    for enabled, status in ((None, 404 if environment == "production" else 200), (True, 200)):
        app = app_of(environment=environment, docs_enabled=enabled, allowed_hosts=("testserver",))
        async with calling(app) as client:
            for path in ("/docs", "/redoc", "/openapi.json", "/docs/assets/swagger-ui.css"):
                assert (await client.get(path)).status_code == status
    async with calling(app_of(environment=environment, docs_enabled=False)) as client:
        assert (await client.get("/docs")).status_code in (400, 404)


PREFLIGHT = {
    "Access-Control-Request-Method": "PATCH",
    "Access-Control-Request-Headers": "authorization, content-type",
}


@pytest.mark.parametrize("path", [f"{API}/items", NOBODYS, "/nowhere", f"{API}/auth/login/"])
async def test_preflights_of_allowed_origins(production: FastAPI, path: str) -> None:
    async with calling(production, host=HOST, origin=ORIGIN) as client:
        answer = await client.options(path, headers=PREFLIGHT)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["access-control-allow-headers"] == ACCEPTED
    methods = set(answer.headers["access-control-allow-methods"].split(", "))
    assert {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} <= methods
    assert int(answer.headers["access-control-max-age"]) > 0
    assert "Origin" in answer.headers["vary"]


DENIED = [
    *("https://evil.example", "null", "", "http://app.example.com", "https://app.example.com.evil"),
    *("https://app.example.com:444", "https://evilapp.example.com", f"{ORIGIN}/", f"{ORIGIN} "),
    *("https://sub.app.example.com", "*", f"https://evil.example, {ORIGIN}", "file://"),
]


@pytest.mark.parametrize("origin", DENIED)
async def test_a_denied_origin_gets_no_cors_header_at_all(production: FastAPI, origin: str) -> None:
    for method, path, sent in (
        ("OPTIONS", f"{API}/items", PREFLIGHT),
        ("GET", "/health", {}),
        ("GET", "/nowhere", {}),
        ("GET", "/made-odd/crash", {}),
    ):
        headers = [(b"host", HOST.encode()), (b"origin", origin.encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in sent.items()]
        answer = await raw(production, method, path, headers=headers, host=False)
        assert not [name for name in answer.headers if name.startswith(b"access-control-")]
        assert b"Origin" in answer.headers[b"vary"]


async def test_cors_headers_of_answers(production: FastAPI) -> None:
    async with calling(production, host=HOST, origin=ORIGIN) as client:
        for path in (
            "/health",
            "/nowhere",
            "/made-odd/crash",
            "/made-odd/teapot",
            f"{API}/articles",
        ):
            answer = await client.get(path)
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert answer.headers["access-control-expose-headers"] == READABLE
            assert "Origin" in answer.headers["vary"]
        refused = await client.get("/nowhere", headers={"Host": "evil.example"})
        assert (refused.status_code, refused.json()["error"]) == (400, "INVALID_HOST")
        assert refused.headers["access-control-allow-origin"] == ORIGIN
    async with calling(production, host=HOST) as client:
        same_origin = await client.get("/health")
        assert not [name for name in same_origin.headers if name.startswith("access-control-")]


async def test_request_ids_are_kept_or_made(served: Served) -> None:
    kept = await served.anonymous.get("/health", headers={"X-Request-ID": "from-the-client.1"})
    assert kept.headers["x-request-id"] == "from-the-client.1"
    made = {(await served.anonymous.get("/health")).headers["x-request-id"] for _ in range(10)}
    assert len(made) == 10


@pytest.mark.parametrize(
    ("host", "error"),
    [
        *((each, "NOT_FOUND") for each in (HOST, HOST.upper(), f"{HOST}:8443")),
        *((each, "INVALID_HOST") for each in ("evil.example", f"{HOST}.evil.example", "[::1]")),
        (f"evil{HOST}", "INVALID_HOST"),
        *((each, "BAD_REQUEST") for each in ("", "é", f"{HOST}, evil.example")),
        *((each, "BAD_REQUEST") for each in (f"evil.example:{HOST}", f"{HOST}@evil.example")),
    ],
)
async def test_hosts(production: FastAPI, host: str, error: str) -> None:
    headers = [(b"host", host.encode("latin-1"))]
    answer = await raw(production, "GET", "/nowhere", headers=headers, host=False)
    assert (answer.status, answer.json()["error"]) == (404 if error == "NOT_FOUND" else 400, error)
    assert b"evil" not in answer.body


async def test_health_answers_to_any_host_and_development_to_all(
    production: FastAPI, development: FastAPI
) -> None:
    elsewhere = [(b"host", b"10.0.0.7:8000")]
    for path in ("/health", "/health/live", "/health/ready", "/health/"):
        answer = await raw(production, "GET", path, headers=elsewhere, host=False)
        assert answer.status in (200, 503)
    for path in ("/healthy", "/healthcheck/../nowhere", f"{API}/health"):
        answer = await raw(production, "GET", path, headers=elsewhere, host=False)
        assert answer.status == 400
    assert (await raw(production, "GET", "/nowhere", host=False)).status == 400
    assert (await raw(development, "GET", "/nowhere", headers=elsewhere, host=False)).status == 404


async def test_one_line_per_request(
    served: Served, events: list[structlog.typing.EventDict]
) -> None:
    made = await served.member.post(f"{API}/items", json={"title": "x"})
    path = made.headers["location"]
    await served.member.get(f"{path}/", headers={"X-Request-ID": "mine"})
    await served.anonymous.head(path)
    await served.anonymous.get("/nowhere")
    lines = [event for event in events if event["event"] == "request"]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("POST", f"{API}/items", 201),
        ("GET", f"{API}/items/{{id}}", 200),
        ("HEAD", f"{API}/items/{{id}}", 401),
        ("GET", None, 404),
    ]
    user = str(served.member.id)
    assert [line["user_id"] for line in lines] == [user, user, None, None]
    assert lines[0]["request_id"] == made.headers["x-request-id"]
    assert lines[1]["request_id"] == "mine"
    assert all(line["duration_ms"] >= 0 for line in lines)


async def test_a_crash_is_logged_once_under_its_request_id(
    production: FastAPI, events: list[structlog.typing.EventDict]
) -> None:
    async with calling(production, host=HOST) as client:
        answer = await client.get("/made-odd/crash")
    (crashed,) = [event for event in events if event["event"] == "unhandled_error"]
    assert crashed["log_level"] == "error"
    assert crashed["exc_info"]
    assert crashed["request_id"] == answer.headers["x-request-id"]
    (line,) = [event for event in events if event["event"] == "request"]
    assert (line["route"], line["status"]) == ("/made-odd/crash", 500)


async def test_nothing_secret_is_logged(
    served: Served, events: list[structlog.typing.EventDict]
) -> None:
    secret = f"{CANARY}-Secret1"
    member = {"email": f"{CANARY}@example.com", "password": secret}
    await served.anonymous.post(f"{API}/auth/register", json={**member, "no": 1})
    await served.anonymous.post(f"{API}/auth/login", json=member)
    await served.anonymous.post(f"{API}/auth/login", data={"username": "x", "password": secret})
    await served.member.get(f"{API}/items?q={CANARY}")
    await served.member.get(f"{API}/items?{CANARY}=1")
    await served.member.get(f"/nowhere/{CANARY}", headers={"Cookie": f"a={CANARY}"})
    await served.anonymous.get(f"{API}/items", headers={"Authorization": f"Bearer {CANARY}"})
    change = {"current_password": secret, "new_password": f"{secret}2"}
    await served.member.put(f"{API}/users/me/password", json=change)
    assert len([event for event in events if event["event"] == "request"]) == 8
    logged = str(events)
    assert CANARY not in logged
    assert served.member.token not in logged


SCRIPT = """
import asyncio
from backend.core.logging import configure_logging
from tests.core.http import test_answers as here

async def main() -> None:
    app = here.app_of(environment="production", allowed_hosts=(here.HOST,))
    configure_logging(app.state.context.settings)
    async with here.calling(app, host=here.HOST) as client:
        await client.get("/made-odd/crash", headers={"X-Request-ID": "mine"})

asyncio.run(main())
"""


@pytest.mark.slow
def test_production_logs_json_without_local_variables() -> None:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60
    )
    events = [json.loads(each) for each in run.stdout.splitlines()]
    # The client runs in this process and logs, too.
    crashed, line = [event for event in events if event.get("logger") != "httpx"]
    assert (crashed["event"], crashed["level"]) == ("unhandled_error", "error")
    assert "RuntimeError: broken at 10" in crashed["exception"]
    assert (line["event"], line["status"], line["request_id"]) == ("request", 500, "mine")
    assert list(line) == [
        *("method", "route", "status", "duration_ms", "client", "user_id", "event", "request_id"),
        *("level", "timestamp", "instance", "pid"),
    ]
    assert datetime.fromisoformat(line["timestamp"]).tzinfo
    assert (line["instance"], line["client"]) == (platform.node(), "127.0.0.1")
    assert line["pid"] == crashed["pid"] > 0
    assert CANARY not in run.stdout + run.stderr
