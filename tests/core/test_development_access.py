"""In development, pages and host names of the machine itself are allowed without settings."""

import pytest

from tests.actors import PASSWORD, Actor
from tests.core.http.test_answers import API, PREFLIGHT, app_of, calling
from tests.hostile import raw
from tests.web import COOKIE_LOGIN, configured_client, sign_in_by_cookie

PAGE = "http://localhost:5173"


@pytest.mark.parametrize("origin", [PAGE, "http://127.0.0.1:3000", "http://localhost"])
async def test_pages_of_this_machine_may_call(origin: str) -> None:
    app = app_of(environment="development")
    async with calling(app, host="localhost:8000", origin=origin) as client:
        for path in ("/health", "/nowhere", "/odd/crash"):
            answer = await client.get(path)
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["access-control-allow-credentials"] == "true"
        asked = await client.options(f"{API}/items", headers=PREFLIGHT)
        assert asked.headers["access-control-allow-origin"] == origin
        assert "traceparent, tracestate" in asked.headers["access-control-allow-headers"]


@pytest.mark.parametrize("environment", ["test", "staging", "production"])
async def test_elsewhere_they_may_not(environment: str) -> None:
    app = app_of(environment=environment, allowed_hosts=("localhost",))
    async with calling(app, host="localhost:8000", origin=PAGE) as client:
        for answer in (await client.get("/health"), await client.options("/", headers=PREFLIGHT)):
            assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_in_development_other_pages_may_not() -> None:
    app = app_of(environment="development")
    for origin in ("https://localhost:5173", "http://localhost:5173.evil.example", "null"):
        async with calling(app, host="localhost:8000", origin=origin) as client:
            answer = await client.get("/health")
            assert "access-control-allow-origin" not in answer.headers
            assert "Origin" in answer.headers["vary"]


async def test_the_rule_of_cookies_and_that_of_answers_are_one(
    ada: Actor, database_url: str
) -> None:
    settings = {"environment": "development", "cors_origins": "https://app.example.com"}
    async with configured_client(
        database_url, base_url="http://localhost:8000", **settings
    ) as client:
        page = await sign_in_by_cookie(client)
        for origin, status in (
            (PAGE, 201),
            ("https://app.example.com", 201),
            ("http://localhost:8000", 201),
            ("https://localhost:5173", 403),
            ("http://evil.example", 403),
        ):
            headers = page.csrf | {"Origin": origin}
            answer = await page.post(f"{API}/items", json={"title": "Tea"}, headers=headers)
            assert answer.status_code == status, origin
            allowed = answer.headers.get("access-control-allow-origin") == origin
            # A page of the API itself needs no header.
            assert allowed == (status == 201)
            body = {"email": "ada", "password": PASSWORD}
            signed_in = await page.post(COOKIE_LOGIN, json=body, headers={"Origin": origin})
            assert signed_in.status_code == (200 if status == 201 else 403)
            if status == 201:
                page = await sign_in_by_cookie(client)


@pytest.mark.parametrize(
    ("allowed", "host", "status"),
    [
        *(((), host, 404) for host in ("localhost:8000", "LOCALHOST", "app.localhost", "[::1]:1")),
        *(((), host, 404) for host in ("127.0.0.1", "192.168.1.7:8000", "testserver")),
        *(((), host, 400) for host in ("evil.example", "localhost.evil.example:8000", "a.b")),
        (("evil.example",), "evil.example", 404),
        (("evil.example",), "localhost", 400),
        (("*",), "evil.example", 404),
    ],
)
async def test_hosts_in_development(allowed: tuple[str, ...], host: str, status: int) -> None:
    app = app_of(environment="development", allowed_hosts=allowed)
    answer = await raw(app, "GET", "/nowhere", headers=[(b"host", host.encode())], host=False)
    assert answer.status == status
    if status == 400:
        assert answer.json()["error"] == "INVALID_HOST"
        assert "ALLOWED_HOSTS" in answer.json()["detail"]
    headers = [(b"host", b"evil.example")]
    assert (await raw(app, "GET", "/health", headers=headers, host=False)).status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, 404) for host in ("a.example.org", "A.B.Example.Org:8443", "a.example.org.:1")),
        *((host, 404) for host in ("api.example.com.", "API.example.com.:443")),
        *(
            (host, 400)
            for host in ("example.org", "aexample.org", ".example.org", "a..example.org")
        ),
        *((host, 400) for host in ("a.example.org.evil.example", "evil.example:.example.org")),
        *((host, 400) for host in ("api.example.com..", "a..example.org", "127.0.0.1")),
    ],
)
async def test_subdomains_dots_and_ports(host: str, status: int) -> None:
    app = app_of(environment="production", allowed_hosts=("api.example.com", "*.example.org"))
    answer = await raw(app, "GET", "/nowhere", headers=[(b"host", host.encode())], host=False)
    assert answer.status == status
