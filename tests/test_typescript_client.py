"""The TypeScript client in clients/typescript: generated from openapi.json, compiled, and used in
Node and in a browser against a running server."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests import databases, npm
from tests.actors import PASSWORD
from tests.commands import PATIENCE, ROOT
from tests.processes import served
from tests.servers import serving_in_thread
from tests.sessions import expired_like

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page, Route

pytestmark = pytest.mark.slow
PACKAGE = ROOT / "clients" / "typescript"
GENERATED = PACKAGE / "src" / "generated"
# Seconds that an access token lasts where a test waits for its end.
TTL = 4


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    npm.require_packages(PACKAGE)


run = partial(npm.run, folder=PACKAGE)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the compiled client and its tests. The compiler is at its strictest."""
    folder = tmp_path_factory.mktemp("typescript")
    run("node_modules/.bin/tsc", "--project", "tsconfig.json", "--outDir", str(folder))
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def static_files(folder: Path) -> Iterator[str]:
    """Serve a folder on a free port, and yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=folder))
    with serving_in_thread(server) as port:
        yield f"http://localhost:{port}"


@dataclass(frozen=True)
class Site:
    """The API and a page that uses it, on two ports of one host."""

    api: str
    page: str
    database_url: str


PAGE = """<!doctype html><title>Page</title><script type="module">
    import * as client from "/src/index.js";
    window.signedOut = 0;
    const options = { baseUrl: "%s", onSignedOut: () => (window.signedOut += 1) };
    const stored = () => client.bearer(client.webStorage(localStorage));
    const credentials = location.hash === "#bearer" ? stored() : client.cookies();
    window.api = client.createClient({ ...options, credentials });
</script>"""


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, compiled: Path) -> Iterator[Site]:
    with (
        databases.cloned_database(databases.server_url(request.config)) as url,
        static_files(compiled) as page,
        served(
            url,
            workers=1,
            CORS_ORIGINS=page,
            RATE_LIMIT_ENABLED="true",
            RATE_LIMIT_DEFAULT="20/second",
        ) as server,
    ):
        api = f"http://localhost:{urlsplit(server.url).port}"
        (compiled / "index.html").write_text(PAGE % api)
        yield Site(api, page, url)


def test_the_generated_sources_are_those_of_openapi_json(tmp_path: Path) -> None:
    run("node", "scripts/generate.mjs", GENERATED=f"{tmp_path.as_uri()}/")
    for source in GENERATED.iterdir():
        assert (tmp_path / source.name).read_text() == source.read_text(), (
            f"{source.name} is out of date. Run: make client"
        )


def test_the_package_builds(tmp_path: Path) -> None:
    run("node_modules/.bin/tsc", "--project", "tsconfig.build.json", "--outDir", str(tmp_path))
    (tmp_path / "package.json").write_text('{"type": "module"}')
    assert "createClient" in (tmp_path / "index.d.ts").read_text()
    names = run("node", "-e", f"import('{tmp_path}/index.js').then((it) => console.log(it))")
    assert {"ApiError", "bearer", "change", "cookies", "createClient"} <= set(
        re.findall(r"\w+", names)
    )


def test_the_source_compiles_in_projects_with_fewer_checks() -> None:
    """Bundlers that use the export condition `source` compile it with their own options."""
    checks = "exactOptionalPropertyTypes", "noUncheckedIndexedAccess"
    options = [part for check in checks for part in (f"--{check}", "false")]
    run("node_modules/.bin/tsc", "--project", "tsconfig.build.json", "--noEmit", *options)


def test_the_lock_file_has_no_addresses_of_packages() -> None:
    assert '"resolved"' not in (PACKAGE / "package-lock.json").read_text()


@pytest.mark.parametrize("name", ["types", "calls", "repetition"])
def test_in_node(site: Site, compiled: Path, name: str) -> None:
    run("node", "--test", str(compiled / "test" / f"{name}.test.js"), API_URL=site.api)


def test_renewal_in_node(request: pytest.FixtureRequest, compiled: Path) -> None:
    with (
        databases.cloned_database(databases.server_url(request.config)) as url,
        served(url, workers=1, ACCESS_TOKEN_TTL=TTL) as server,
    ):
        test = str(compiled / "test" / "renewal.test.js")
        run("node", "--test", test, API_URL=server.url, ACCESS_TOKEN_TTL=str(TTL))


# --- In a browser


@pytest.fixture
async def account(site: Site, request: pytest.FixtureRequest) -> str:
    """The e-mail address of an account that only this test uses."""
    email = f"{request.node.name.replace('_', '-').strip('[]')}@example.com".replace("[", "-")
    async with httpx.AsyncClient(base_url=site.api) as client:
        body = {"email": email, "password": PASSWORD}
        assert (await client.post("/api/v1/auth/register", json=body)).status_code == 201
    return email


async def opened(browser_context: "BrowserContext", address: str) -> "Page":
    page = await browser_context.new_page()
    await page.goto(address)
    await page.wait_for_function("window.api !== undefined")
    return page


async def sign_in(page: "Page", email: str) -> None:
    script = "([email, password]) => api.signIn({ email, password })"
    await page.evaluate(script, [email, PASSWORD])


async def let_expire(browser_context: "BrowserContext", site: Site, page: "Page") -> None:
    """Replace the access token of a new session by one that has expired."""
    stored = await page.evaluate("JSON.parse(localStorage.getItem('trellis:tokens'))")
    if stored is not None:
        stored["access_token"] = await expired_like(site.database_url, stored["access_token"])
        script = "(tokens) => localStorage.setItem('trellis:tokens', JSON.stringify(tokens))"
        await page.evaluate(script, stored)
        return
    (cookie,) = [each for each in await browser_context.cookies() if each["name"] == "access_token"]
    cookie["value"] = await expired_like(site.database_url, cookie["value"])
    await browser_context.add_cookies([cookie])  # type: ignore[list-item]  # it reads what it wrote


def recorded(browser_context: "BrowserContext") -> list[tuple[str, str, int]]:
    """Return a list to which method, path and status of each response are added."""
    responses: list[tuple[str, str, int]] = []
    browser_context.on(
        "response",
        lambda each: responses.append((each.request.method, urlsplit(each.url).path, each.status)),
    )
    return responses


def renewals(responses: list[tuple[str, str, int]]) -> int:
    return sum(1 for method, path, _ in responses if (method, path) == ("POST", REFRESH))


REFRESH = "/api/v1/auth/refresh"
TITLES = "api.items.listItems().then(({ data }) => data.map(({ title }) => title))"
ARTICLES = "api.articles.listArticles().then(({ data }) => data)"
HIDE_COOKIES = "Object.defineProperty(document, 'cookie', { get: () => '' })"
WAIT_FOR_LOCK = """async () => {
    const isWaiting = async () => (await navigator.locks.query()).pending.length === 1;
    while (!(await isWaiting())) await new Promise((resolve) => setTimeout(resolve, 20));
}"""
CREATE = "(title) => api.items.createItem({ body: { title } }).then(({ title }) => title)"


async def test_a_page_signs_in_by_cookies(
    browser_context: "BrowserContext", site: Site, account: str
) -> None:
    page = await opened(browser_context, site.page)
    assert await page.evaluate("api.currentUser()") is None
    await sign_in(page, account)
    # Scripts see no token.
    assert "token" not in (await page.evaluate("document.cookie")).replace("csrf_token", "")
    assert await page.evaluate("Object.keys(localStorage)") == []
    assert await page.evaluate(CREATE, "Tea") == "Tea"

    responses = recorded(browser_context)
    await page.reload()
    await page.wait_for_function("window.api !== undefined")
    assert await page.evaluate(CREATE, "Milk") == "Milk"
    assert (await page.evaluate("api.currentUser()"))["email"] == account
    # The CSRF token came from the cookie.
    assert not [each for each in responses if each[2] == 403]

    # A page of another host name cannot read the cookie, and asks the server.
    hidden = await browser_context.new_page()
    await hidden.add_init_script(HIDE_COOKIES)
    await hidden.goto(site.page)
    await hidden.wait_for_function("window.api !== undefined")
    posts = count()

    async def delay_the_second(route: "Route") -> None:
        if route.request.method == "POST" and next(posts) == 1:
            await asyncio.sleep(0.5)
        await route.continue_()

    # The second call is refused after the first one has asked.
    await hidden.route(f"{site.api}/api/v1/items", delay_the_second)
    two = f"Promise.all(['Bread', 'Salt'].map({CREATE}))"
    assert await hidden.evaluate(two) == ["Bread", "Salt"]
    refused = [each for each in responses if each[2] == 403]
    assert refused == [("POST", "/api/v1/items", 403)] * 2

    await page.evaluate("api.signOut()")
    assert await browser_context.cookies(f"{site.api}{REFRESH}") == []
    assert await page.evaluate("api.currentUser()") is None
    # The other page learns of it with its next call.
    assert await hidden.evaluate("api.items.listItems.attempt().then(({ ok }) => ok)") is False


async def test_the_first_lines_of_the_readme(browser_context: "BrowserContext", site: Site) -> None:
    (code, *_) = re.findall(r"```ts\n(.*?)```", (PACKAGE / "README.md").read_text(), re.DOTALL)
    code = re.sub(r"[\w-]+-client", "/src/index.js", code).replace(
        "http://localhost:8000", site.api
    )
    page = await opened(browser_context, site.page)
    async with page.expect_console_message() as message:
        await page.add_script_tag(type="module", content=code)
    assert (await message.value).text == "Tea"


@pytest.mark.parametrize("kind", ["cookies", "bearer"])
async def test_a_tab_waits_for_the_renewal_of_another(
    browser_context: "BrowserContext", site: Site, account: str, kind: str
) -> None:
    first = await opened(browser_context, f"{site.page}/#{kind}")
    await sign_in(first, account)
    second = await opened(browser_context, f"{site.page}/#{kind}")
    assert await second.evaluate(CREATE, "Tea") == "Tea"
    responses = recorded(browser_context)
    await let_expire(browser_context, site, first)
    renewing, both = asyncio.Event(), asyncio.Event()

    async def delay(route: "Route") -> None:
        renewing.set()
        await both.wait()
        await route.continue_()

    await first.route(f"{site.api}{REFRESH}", delay)
    several = f"Promise.all([{TITLES}, {TITLES}, {TITLES}])"
    calls = [asyncio.create_task(first.evaluate(several))]
    await renewing.wait()
    calls.append(asyncio.create_task(second.evaluate(several)))
    await asyncio.wait_for(second.evaluate(WAIT_FOR_LOCK), PATIENCE)
    assert renewals(responses) == 0
    both.set()
    assert await asyncio.gather(*calls) == [[["Tea"]] * 3] * 2
    # The localStorage of a tab may show later what another tab has written.
    assert renewals(responses) in {"cookies": [1], "bearer": [1, 2]}[kind]
    assert {await each.evaluate("signedOut") for each in (first, second)} == {0}
    assert await second.evaluate(TITLES) == ["Tea"]


async def test_without_web_locks_two_tabs_stay_signed_in(
    browser_context: "BrowserContext", site: Site, account: str
) -> None:
    await browser_context.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'locks', { get: () => undefined })"
    )
    first = await opened(browser_context, site.page)
    await sign_in(first, account)
    second = await opened(browser_context, site.page)
    responses = recorded(browser_context)
    await let_expire(browser_context, site, first)
    found = await asyncio.gather(first.evaluate(TITLES), second.evaluate(TITLES))
    assert list(found) == [[], []]
    assert 1 <= renewals(responses) <= 2
    assert await first.evaluate(CREATE, "Tea") == "Tea"
    assert await second.evaluate(TITLES) == ["Tea"]


async def end_all_sessions(site: Site, email: str) -> None:
    async with httpx.AsyncClient(base_url=f"{site.api}/api/v1/auth") as client:
        body = {"email": email, "password": PASSWORD}
        token = (await client.post("/login", json=body)).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert (await client.post("/logout-all", headers=headers)).status_code == 204


async def test_a_session_that_was_ended_elsewhere_is_reported(
    browser_context: "BrowserContext", site: Site, account: str
) -> None:
    page = await opened(browser_context, site.page)
    await sign_in(page, account)
    await end_all_sessions(site, account)
    assert await page.evaluate(f"{TITLES}.catch(({{ problem }}) => problem.error)") == (
        "NOT_AUTHENTICATED"
    )
    assert await page.evaluate("signedOut") == 1
    # Its cookies are gone, so public routes work.
    assert await page.evaluate(ARTICLES) == []

    # The same for a page of another host name that is loaded after the end.
    await sign_in(page, account)
    await end_all_sessions(site, account)
    hidden = await browser_context.new_page()
    await hidden.add_init_script(HIDE_COOKIES)
    await hidden.goto(site.page)
    await hidden.wait_for_function("window.api !== undefined")
    assert await hidden.evaluate("api.currentUser()") is None
    assert await hidden.evaluate("signedOut") == 1
    assert await browser_context.cookies(f"{site.api}{REFRESH}") == []
    assert await hidden.evaluate(ARTICLES) == []


UPLOAD = """async (abort) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 600, height: 600 });
    const context = canvas.getContext("2d");
    const noise = context.createImageData(600, 600);
    for (let at = 0; at < noise.data.length; at += 65536)
        crypto.getRandomValues(noise.data.subarray(at, at + 65536));
    context.putImageData(noise, 0, 0);
    const file = await new Promise((resolve) => canvas.toBlob(resolve));
    const controller = new AbortController();
    const seen = [];
    const onProgress = (progress) => {
        seen.push(progress);
        if (abort) controller.abort(new Error("the user has changed their mind"));
    };
    const { signal } = controller;
    try {
        const me = await api.users.replaceAvatar({ body: { file }, onProgress, signal });
        return { size: file.size, seen, avatar: me.avatar_url };
    } catch (error) {
        return { message: error.message };
    }
}"""


async def test_an_upload_reports_its_progress(
    browser_context: "BrowserContext", site: Site, account: str
) -> None:
    page = await opened(browser_context, site.page)
    await sign_in(page, account)
    assert await page.evaluate(UPLOAD, True) == {"message": "the user has changed their mind"}
    # An expired token is renewed, and the upload repeated.
    await let_expire(browser_context, site, page)
    done = await page.evaluate(UPLOAD, False)
    assert done["avatar"].startswith("/files/")
    loaded = [each["loaded"] for each in done["seen"]]
    assert len(loaded) > 1
    assert loaded[-1] == done["seen"][-1]["total"] > done["size"] > 500_000
