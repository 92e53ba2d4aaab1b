"""Below the prefix of a proxy, all paths in responses begin with the prefix."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from backend.core.context import Context
from backend.core.settings import Settings, SettingsError, load_settings
from tests.actors import PASSWORD, Actor
from tests.applications import make_app, make_context
from tests.web import cookies_set

PREFIX = "/backend"
PEER = "10.0.0.1"
ITEMS = "/api/v1/items"
Proxied = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def proxied(database_url: str, ada: Actor) -> AsyncIterator[Proxied]:
    """`proxied(root_path="/backend")` returns Ada's client of an application so configured."""
    async with AsyncExitStack() as stack:

        async def make(peer: str = PEER, **settings: Any) -> httpx.AsyncClient:
            context: Context = make_context(database_url, **settings)
            stack.push_async_callback(context.database.close)
            context.state.started = True
            transport = httpx.ASGITransport(make_app(context), client=(peer, 1))
            client = httpx.AsyncClient(transport=transport, base_url="http://testserver")
            client.headers["Authorization"] = f"Bearer {ada.token}"
            return await stack.enter_async_context(client)

        yield make


async def addresses(client: httpx.AsyncClient, before: str = "", **headers: str) -> dict[str, Any]:
    """Return the addresses in responses of the application; `before` is left on the path."""
    found: dict[str, Any] = {}
    await client.post(f"{before}{ITEMS}", json={"title": "x"}, headers=headers)
    made = await client.post(f"{before}{ITEMS}/", json={"title": "y"}, headers=headers)
    assert made.status_code == 201
    found["Location"] = made.headers["location"]
    page = await client.get(f"{before}{ITEMS}?limit=1", headers=headers)
    found["Link"] = re.findall(r"<(.*?)\?", page.headers["link"])[0]
    for path in ("/nowhere", "/nowhere/"):
        problem = (await client.get(f"{before}{path}", headers=headers)).json()
        found |= {f"{name}{path}": problem[name] for name in ("type", "instance", "path")}
    login = {"email": "ada", "password": PASSWORD}
    url = f"{before}/api/v1/auth/login?transport=cookie"
    signed_in = await client.post(url, json=login, headers=headers)
    client.cookies.clear()
    cookies = cookies_set(signed_in)
    found |= {name: cookie.attributes["path"] for name, cookie in cookies.items()}
    pages = [await client.get(before + page, headers=headers) for page in ("/docs", "/redoc")]
    html = "".join(page.text for page in pages)
    for each in ("openapi.json", "swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js"):
        found[each] = set(re.findall(rf"""["']([^"']*/{each})["']""", html))
    document = (await client.get(f"{before}/openapi.json", headers=headers)).json()
    found["servers"] = document.get("servers")
    flow = document["components"]["securitySchemes"]["SignIn"]["flows"]["password"]
    found["tokenUrl"] = flow["tokenUrl"]
    found["id"] = made.json()["id"]
    return found


def expected(prefix: str, id: str) -> dict[str, Any]:
    problems = {
        f"{name}{path}": prefix + ("/errors/NOT_FOUND" if name == "type" else path)
        for path in ("/nowhere", "/nowhere/")
        for name in ("type", "instance", "path")
    }
    assets = ("swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js")
    return {
        "Location": f"{prefix}{ITEMS}/{id}",
        "Link": f"{prefix}{ITEMS}",
        **problems,
        "access_token": "/",
        "csrf_token": "/",
        "refresh_token": f"{prefix}/api/v1/auth",
        "openapi.json": {f"{prefix}/openapi.json"},
        **{each: {f"{prefix}/docs/assets/{each}"} for each in assets},
        "servers": [{"url": prefix or "/"}],
        "tokenUrl": f"{prefix}/api/v1/auth/login",
        "id": id,
    }


@pytest.mark.parametrize("prefix", ["", "/backend", "/api", "/docs", "/a/b.c"])
@pytest.mark.parametrize("stripped", [True, False])
async def test_addresses(proxied: Proxied, prefix: str, stripped: bool) -> None:
    client = await proxied(root_path=prefix)
    found = await addresses(client, "" if stripped else prefix)
    wanted = expected(prefix, found["id"])
    if prefix in ("/api", "/docs") and not stripped:
        # A removed prefix is undetectable if an unknown path begins like one of the application.
        wanted |= {name: value for name, value in found.items() if "nowhere" in name}
    assert found == wanted


async def test_addresses_are_those_that_a_trusted_proxy_names(proxied: Proxied) -> None:
    client = await proxied(trusted_proxies=("10.0.0.0/8",))
    for before in ("", PREFIX):
        found = await addresses(client, before, **{"X-Forwarded-Prefix": f"{PREFIX}/"})
        assert found == expected(PREFIX, found["id"])
    found = await addresses(client)
    assert found == expected("", found["id"])


async def test_assets_and_the_page_of_mails_are_there(proxied: Proxied) -> None:
    client = await proxied(root_path=PREFIX)
    for before in ("", PREFIX):
        for page in ("/docs", "/redoc"):
            html = (await client.get(before + page)).text
            for asset in re.findall(r"""(?:src|href)=["'](/[^"']+)["']""", html):
                assert (await client.get(asset)).status_code == 200
                assert (await client.get(asset.removeprefix(PREFIX))).status_code == 200
        assert (await client.get(f"{before}/dev/mailbox")).status_code == 200
    assert (await client.get(PREFIX)).json()["path"] == f"{PREFIX}/"


async def test_who_is_not_trusted_names_no_prefix(proxied: Proxied) -> None:
    client = await proxied("203.0.113.9", trusted_proxies=("10.0.0.0/8",))
    found = await addresses(client, **{"X-Forwarded-Prefix": PREFIX})
    assert found == expected("", found["id"])
    # The setting takes precedence over the header, even from a trusted proxy.
    client = await proxied(root_path=PREFIX, trusted_proxies=("10.0.0.0/8",))
    found = await addresses(client, **{"X-Forwarded-Prefix": "/other"})
    assert found == expected(PREFIX, found["id"])


@pytest.mark.parametrize(
    "value",
    [
        *(
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "evil",
            "/a//b",
            "/..",
            "/.",
        ),
        *("/a/../b", "/a?b", "/a#b", "/a b", "/a%2f", "/<script>", '/"', "/a;b", "/é", "/a,//evil"),
        *("/" + "a" * 200, "/a\r\nx: y", "/a\x00"),
    ],
)
async def test_what_is_no_prefix_is_ignored(proxied: Proxied, value: str) -> None:
    client = await proxied(trusted_proxies=("10.0.0.0/8",))
    answer = await client.get("/nowhere", headers=[(b"X-Forwarded-Prefix", value.encode("utf-8"))])
    assert (answer.status_code, answer.json()["path"]) == (404, "/nowhere")


async def test_the_nearest_proxy_is_the_one_to_believe(proxied: Proxied) -> None:
    client = await proxied(trusted_proxies=("10.0.0.0/8",))
    for lines in ([b"/other, /backend"], [b"/other", b"/backend"]):
        headers = [(b"X-Forwarded-Prefix", line) for line in lines]
        answer = await client.get("/nowhere", headers=headers)
        assert answer.json()["path"] == "/backend/nowhere"


@pytest.mark.parametrize(
    "value", ["backend", "//backend", "/a?b", "/a#b", "/a b", "https://x", "/..", "/a//b", "/a//"]
)
def test_what_is_no_prefix_is_told(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ROOT_PATH", value)
    with pytest.raises(SettingsError) as refused:
        load_settings([])
    assert refused.value.problems == [
        "ROOT_PATH: must be a path such as /backend, of letters, digits, . _ ~ - and /."
    ]


@pytest.mark.parametrize(("value", "read"), [("/backend/", "/backend"), ("/", ""), ("", "")])
def test_a_slash_at_the_end_means_nothing(
    monkeypatch: pytest.MonkeyPatch, value: str, read: str
) -> None:
    monkeypatch.setenv("ROOT_PATH", value)
    settings = load_settings([])[Settings]
    assert isinstance(settings, Settings)
    assert settings.root_path == read
