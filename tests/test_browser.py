"""Cookie mode in a real browser, from the site's own pages and from other sites.

The server is a process of its own. The page runs the script that docs/http.md shows.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from backend.core.app import create_app
from tests import databases
from tests.actors import PASSWORD, Actor
from tests.applications import MODULES, make_context
from tests.commands import ROOT
from tests.processes import served
from tests.servers import serving, serving_in_thread
from tests.sessions import execute, expired_like

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.slow

DOCUMENTED = "http://localhost:8000"
AUTH = "/api/v1/auth"
COOKIES = {"access_token", "refresh_token", "csrf_token"}


def documented_script(api: str) -> str:
    """Return the script of the documentation for the API at this address."""
    section = (ROOT / "docs" / "http.md").read_text().split("\n## Web front ends\n")[1]
    found = re.search(r"^```js\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found
    assert found[1].count(DOCUMENTED) == 1
    return found[1].replace(DOCUMENTED, api)


@contextmanager
def pages() -> Iterator[tuple[int, Callable[[str], None]]]:
    """Serve an empty page on a separate port; yield the port and a setter of its script."""
    script = ""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/"
            content = f"<!doctype html><title>Page</title><script>{script}</script>".encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content) if found else 0))
            self.end_headers()
            if found:
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    def set_script(text: str) -> None:
        nonlocal script
        script = text

    with serving_in_thread(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield port, set_script


@dataclass(frozen=True)
class Site:
    """The API, a page of a listed origin, and the port of a server of unlisted origins."""

    api: str
    database_url: str
    page: str
    foreign_port: int

    async def contents(self) -> list[dict[str, Any]]:
        """Return the rows that foreign pages could change."""
        statement = """
            SELECT (SELECT json_agg(u ORDER BY id) FROM users u) AS users,
                   (SELECT json_agg(i ORDER BY id) FROM items i) AS items,
                   (SELECT json_agg(s ORDER BY id) FROM sessions s) AS sessions
        """
        return await execute(self.database_url, statement)


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with (
        databases.cloned_database(databases.server_url(request.config)) as url,
        pages() as (port, set_script),
        pages() as (foreign, _),
    ):
        origin = f"http://localhost:{port}"
        with served(url, workers=1, CORS_ORIGINS=origin) as server:
            api = f"http://localhost:{urlsplit(server.url).port}"
            set_script(documented_script(api))
            yield Site(api, url, origin, foreign)


@pytest.fixture
async def account(site: Site, request: pytest.FixtureRequest) -> str:
    """The email of an account that only this test uses."""
    name = re.sub(r"\W", "-", request.node.name)
    email = f"{name}@example.com"
    async with httpx.AsyncClient(base_url=site.api) as client:
        body = {"email": email, "password": PASSWORD}
        assert (await client.post("/api/v1/auth/register", json=body)).status_code == 201
    return email


async def opened(browser_context: "BrowserContext", address: str) -> "Page":
    page = await browser_context.new_page()
    await page.goto(address)
    return page


async def call(page: "Page", method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Return the status and document of the page's own `call`."""
    script = """async ([method, path, body]) => {
        const answer = await call(method, path, body ?? undefined);
        return [answer.status, await answer.text()];
    }"""
    status, text = await page.evaluate(script, [method, path, body])
    return status, json.loads(text) if text else None


async def sign_in(page: "Page", email: str, password: str = PASSWORD) -> bool:
    script = "([email, password]) => signIn(email, password)"
    done: bool = await page.evaluate(script, [email, password])
    return done


async def cookies_of(browser_context: "BrowserContext", api: str) -> dict[str, Any]:
    """Return the cookies that the browser would send to the sign-out route, by name."""
    return {each["name"]: each for each in await browser_context.cookies(f"{api}{AUTH}")}


async def seen_by_scripts(page: "Page") -> tuple[list[str], list[str]]:
    """Return the names of the cookies and all keys that the page has stored."""
    script = """() => [
        document.cookie.split("; ").filter(Boolean).map((each) => each.split("=")[0]),
        [...Object.keys(localStorage), ...Object.keys(sessionStorage)],
    ]"""
    names, stored = await page.evaluate(script)
    return names, stored


# --- The site's own page


async def test_a_page_of_a_listed_origin(
    browser_context: "BrowserContext", site: Site, account: str
) -> None:
    page = await opened(browser_context, site.page)
    assert await page.evaluate("start()") is None
    assert not await sign_in(page, account, "wrong password")
    assert await cookies_of(browser_context, site.api) == {}
    assert await sign_in(page, account)

    cookies = await cookies_of(browser_context, site.api)
    assert {
        name: (each["httpOnly"], each["sameSite"], each["path"]) for name, each in cookies.items()
    } == {
        "access_token": (True, "Lax", "/"),
        "refresh_token": (True, "Strict", AUTH),
        "csrf_token": (False, "Lax", "/"),
    }
    assert await seen_by_scripts(page) == (["csrf_token"], [])

    assert (await call(page, "GET", "/items"))[1]["data"] == []
    status, item = await call(page, "POST", "/items", {"title": "Tea"})
    assert status == 201
    # After a reload the page has no token but is still signed in; so is another tab.
    await page.reload()
    assert await page.evaluate("csrf") is None
    assert (await page.evaluate("start()"))["email"] == account
    status, changed = await call(page, "PATCH", f"/items/{item['id']}", {"title": "Green tea"})
    assert (status, changed["title"]) == (200, "Green tea")
    tab = await opened(browser_context, site.page)
    # The tab has no token yet: it fetches one after the rejection.
    assert (await call(tab, "POST", "/items", {"title": "Milk"}))[0] == 201
    assert len((await call(tab, "GET", "/items"))[1]["data"]) == 2

    assert await page.evaluate("refresh()")
    renewed = await cookies_of(browser_context, site.api)
    assert {name for name in COOKIES if cookies[name]["value"] == renewed[name]["value"]} == {
        "csrf_token"
    }
    assert (await call(page, "DELETE", f"/items/{item['id']}"))[0] == 204

    assert await page.evaluate("signOut().then((answer) => answer.status)") == 204
    assert await cookies_of(browser_context, site.api) == {}
    assert await seen_by_scripts(page) == ([], [])
    for each in (page, tab):
        status, problem = await call(each, "POST", "/items", {"title": "Tea"})
        assert (status, problem["error"]) == (401, "NOT_AUTHENTICATED")
    assert await page.evaluate("start()") is None


async def test_a_page_that_comes_back_later(
    browser_context: "BrowserContext", site: Site, account: str
) -> None:
    page = await opened(browser_context, site.page)
    assert await sign_in(page, account)
    cookie = (await cookies_of(browser_context, site.api))["access_token"]
    good = cookie["value"]
    expired = await expired_like(site.database_url, good)
    cookie["value"] = expired
    await browser_context.add_cookies([cookie])
    await page.reload()
    # It must refresh before it has received its CSRF token in any other way.
    assert (await page.evaluate("start()"))["email"] == account
    renewed = (await cookies_of(browser_context, site.api))["access_token"]["value"]
    assert renewed not in (good, expired)

    await execute(site.database_url, "UPDATE sessions SET revoked_at = now()")
    # The session is revoked: its remaining cookies must not block public requests.
    assert not await page.evaluate("refresh()")
    assert await cookies_of(browser_context, site.api) == {}
    assert (await call(page, "GET", "/articles"))[0] == 200


async def test_behind_https_the_cookies_have_protected_names(
    browser: "Browser", ada: Actor, database_url: str, tmp_path: Path
) -> None:
    context = make_context(database_url, environment="staging")
    context.state.started = True
    app = create_app(context, MODULES)
    async with (
        serving(app, **certificate(tmp_path)) as url,
        await browser.new_context(ignore_https_errors=True, bypass_csp=True) as person,
    ):
        api = f"https://localhost:{urlsplit(url).port}"
        page = await opened(person, f"{api}/health")
        await page.add_script_tag(content=documented_script(api))
        assert await sign_in(page, ada.email)
        cookies = await cookies_of(person, api)
        assert cookies.keys() == {
            "__Host-access_token",
            "__Secure-refresh_token",
            "__Host-csrf_token",
        }
        assert all(each["secure"] for each in cookies.values())
        assert await seen_by_scripts(page) == (["__Host-csrf_token"], [])
        # The API's own origin need not be listed.
        assert (await call(page, "POST", "/items", {"title": "Tea"}))[0] == 201
        assert await page.evaluate("refresh()")
        assert (await call(page, "POST", "/items", {"title": "Milk"}))[0] == 201
        assert await page.evaluate("signOut().then((answer) => answer.status)") == 204
        assert await cookies_of(person, api) == {}
    await context.database.close()


def certificate(folder: Path) -> dict[str, Path]:
    if shutil.which("openssl") is None:
        missing = "needs the program openssl to make a certificate"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    key, file = folder / "key.pem", folder / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    make += ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(file)]
    subprocess.run(make, check=True, capture_output=True)
    return {"ssl_keyfile": key, "ssl_certfile": file}


# --- Foreign pages

# Path, body and the status of each rejection: first for a page of another site, whose requests are
# anonymous because the browser sends no cookies, then for a page on another port of the same host,
# whose requests carry the cookies.
CALLS = {
    "items, as text": ("/api/v1/items", '{"title": "Tea"}', 401, 403),
    "items": ("/api/v1/items", None, 401, 403),
    "logout": (f"{AUTH}/logout", None, 401, 403),
    "logout, as text": (f"{AUTH}/logout", "{}", 415, 415),
    "logout everywhere": (f"{AUTH}/logout-all", None, 401, 403),
    "refresh": (f"{AUTH}/refresh", None, 401, 403),
    "refresh, as text": (f"{AUTH}/refresh", "{}", 415, 415),
    "login": (f"{AUTH}/login?transport=cookie", None, 403, 403),
}
FORMS = {
    "items": ("/api/v1/items", "text/plain", 401, 403),
    "logout": (f"{AUTH}/logout", "application/x-www-form-urlencoded", 415, 415),
    "logout everywhere": (f"{AUTH}/logout-all", "multipart/form-data", 401, 403),
    "refresh": (f"{AUTH}/refresh", "text/plain", 415, 415),
    "login": (f"{AUTH}/login?transport=cookie", "application/x-www-form-urlencoded", 403, 403),
    "login, in parts": (f"{AUTH}/login?transport=cookie", "multipart/form-data", 403, 403),
}
# Requests that the browser itself blocks after a denied preflight.
STOPPED: dict[str, tuple[str, dict[str, Any]]] = {
    "reading": ("/api/v1/users/me", {}),
    "writing JSON": (
        "/api/v1/items",
        {"method": "POST", "body": "{}", "headers": {"Content-Type": "application/json"}},
    ),
    "deleting": ("/api/v1/users/me", {"method": "DELETE"}),
    "with the right token": (
        f"{AUTH}/logout",
        {"method": "POST", "headers": {"X-CSRF-Token": "?"}},
    ),
}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"], ids=["same site", "another site"])
async def test_a_page_of_another_origin(
    browser_context: "BrowserContext", site: Site, account: str, host: str
) -> None:
    ours = await opened(browser_context, site.page)
    assert await sign_in(ours, account)
    contents = await site.contents()
    cookies = await cookies_of(browser_context, site.api)

    same_site = host == "localhost"
    foreign = f"http://{host}:{site.foreign_port}/"
    page = await opened(browser_context, foreign)
    # Cookies are shared by all ports of a host, so that page reads the token. It does not suffice.
    assert await seen_by_scripts(page) == (["csrf_token"] if same_site else [], [])
    for name, (path, options) in STOPPED.items():
        assert await page.evaluate(FETCH, [site.api + path, options]) == "stopped", name
    for name, (path, body, *statuses) in CALLS.items():
        options = {"method": "POST", "mode": "no-cors", "body": body}
        async with page.expect_response(site.api + path) as response:
            assert await page.evaluate(FETCH, [site.api + path, options]) == "opaque", name
        assert (await response.value).status == statuses[same_site], name
    for name, (path, kind, *statuses) in FORMS.items():
        await page.goto(foreign)
        async with page.expect_navigation(url=site.api + path) as navigation:
            await page.evaluate(SUBMIT, [site.api + path, kind, account, PASSWORD])
        assert (await navigation.value).status == statuses[same_site], name

    assert await site.contents() == contents
    assert await cookies_of(browser_context, site.api) == cookies
    assert (await call(ours, "POST", "/items", {"title": "Tea"}))[0] == 201


FETCH = """async ([url, options]) => {
    const token = document.cookie.replace(/.*csrf_token=/, "");
    if (options.headers?.["X-CSRF-Token"]) options.headers["X-CSRF-Token"] = token;
    try {
        const answer = await fetch(url, { credentials: "include", ...options });
        return answer.type;
    } catch {
        return "stopped";
    }
}"""
# The first field turns a form that is sent as plain text into JSON.
SUBMIT = """([action, enctype, username, password]) => {
    const form = document.createElement("form");
    Object.assign(form, { action, enctype, method: "POST" });
    const fields = enctype === "text/plain" ? { '{"title":"': '"}' } : { username, password };
    for (const [name, value] of Object.entries(fields)) {
        form.append(Object.assign(document.createElement("input"), { name, value }));
    }
    document.body.append(form);
    form.submit();
}"""
