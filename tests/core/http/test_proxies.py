"""Forwarding headers are applied if they come from trusted proxies only."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from backend.core.context import Context
from backend.core.http.middleware.proxy_headers import ProxyHeadersMiddleware
from backend.core.settings import SettingsError, load_settings
from tests.actors import BASE_URL
from tests.applications import make_app, make_context

TRUSTED = ("10.0.0.0/8", "192.0.2.1", "fd00::/8")
PROXY = "10.0.0.1"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the client and scheme of the request."""
    found: Response = JSONResponse([scope["client"] and scope["client"][0], scope["scheme"]])
    await found(scope, receive, send)


async def seen(
    peer: str, *headers: tuple[str, str], trusted: tuple[str, ...] = TRUSTED
) -> list[Any]:
    """Return client and scheme as the application behind the middleware sees them."""
    app = ProxyHeadersMiddleware(echo, trusted)
    transport = httpx.ASGITransport(app=app, client=(peer, 1))
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client:
        # httpx would encode text as ASCII.
        lines = [(name.encode(), text.encode("latin-1")) for name, text in headers]
        answer = await client.get("/", headers=lines)
        found: list[Any] = answer.json()
        return found


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # Not sent by a trusted proxy.
        ("203.0.113.9", ["198.51.100.7"], "203.0.113.9"),
        ("2001:db8::1", ["198.51.100.7"], "2001:db8::1"),
        # One proxy, after entries that the client invented.
        (PROXY, ["198.51.100.7"], "198.51.100.7"),
        (PROXY, ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
        (PROXY, ["10.9.9.9, 198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        # Several proxies, and several header lines.
        (PROXY, ["198.51.100.7, 192.0.2.1, 10.2.2.2"], "198.51.100.7"),
        (PROXY, ["1.1.1.1", "198.51.100.7", "10.2.2.2"], "198.51.100.7"),
        (PROXY, ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        # Notations of various proxies.
        (PROXY, ["198.51.100.7:4711"], "198.51.100.7"),
        (PROXY, ["[2001:db8::7]:4711"], "2001:db8::7"),
        (PROXY, ["[2001:db8::7]"], "2001:db8::7"),
        (PROXY, ["2001:DB8:0::7"], "2001:db8::7"),
        (PROXY, ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("fd00::1", [" 198.51.100.7 , "], "198.51.100.7"),
        # The first invalid address ends the search.
        (PROXY, [], PROXY),
        (PROXY, [""], PROXY),
        (PROXY, [",,,"], PROXY),
        (PROXY, ["unknown"], PROXY),
        (PROXY, ["198.51.100.7, _hidden"], PROXY),
        (PROXY, ["198.51.100.7, nonsense, 10.2.2.2"], "10.2.2.2"),
        (PROXY, ["[198.51.100.7"], "198.51.100.7"),
        (PROXY, ["1.2.3.4.5", "999.1.1.1"], PROXY),
        (PROXY, ["é\x7f"], PROXY),
        (PROXY, ["1," * 5000], PROXY),
    ],
)
async def test_who_the_client_is(peer: str, forwarded: list[str], client: str) -> None:
    lines = [("X-Forwarded-For", line) for line in forwarded]
    assert (await seen(peer, *lines))[0] == client


@pytest.mark.parametrize(
    ("peer", "proto", "scheme"),
    [
        (PROXY, "https", "https"),
        (PROXY, "HTTPS", "https"),
        (PROXY, "http, https", "https"),
        (PROXY, "http", "http"),
        (PROXY, "javascript", "http"),
        (PROXY, "", "http"),
        ("203.0.113.9", "https", "http"),
    ],
)
async def test_what_the_scheme_is(peer: str, proto: str, scheme: str) -> None:
    assert (await seen(peer, ("X-Forwarded-Proto", proto)))[1] == scheme


@pytest.fixture
async def behind_proxy(database_url: str) -> AsyncIterator[FastAPI]:
    context: Context = make_context(
        database_url,
        trusted_proxies=TRUSTED,
        rate_limit_enabled=True,
        rate_limit_default="1/minute",
    )
    context.state.started = True
    yield make_app(context)
    await context.database.close()


async def test_limits_are_those_of_the_client_behind_the_proxy(behind_proxy: FastAPI) -> None:
    async def status(peer: str, forwarded: str) -> int:
        transport = httpx.ASGITransport(app=behind_proxy, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client:
            headers = {"X-Forwarded-For": forwarded}
            return (await client.get("/api/v1/articles", headers=headers)).status_code

    assert await status(PROXY, "198.51.100.7") == 200
    assert await status("10.0.0.2", "1.1.1.1, 198.51.100.7") == 429
    assert await status(PROXY, "198.51.100.8") == 200
    # A client that is not a proxy cannot choose a new address for each request.
    assert await status("203.0.113.9", "198.51.100.20") == 200
    assert await status("203.0.113.9", "198.51.100.21") == 429


def test_without_the_setting_the_headers_mean_nothing(app: FastAPI) -> None:
    names = [getattr(each.cls, "__name__", "") for each in app.user_middleware]
    assert "RequestContextMiddleware" in names
    assert "ProxyHeadersMiddleware" not in names


@pytest.mark.parametrize("value", ["proxy.example.com", "10.0.0.0/40", "10.0.0.1;10.0.0.2", "*"])
def test_what_is_no_network_is_told(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", value)
    with pytest.raises(SettingsError) as refused:
        load_settings([])
    assert refused.value.problems == [
        (
            "TRUSTED_PROXIES: entry 1 is not an address or network: "
            "write addresses and networks such as 10.0.0.1 or 10.0.0.0/8."
        )
    ]
