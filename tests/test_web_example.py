"""The front end in examples/web, in a browser, as `make dev-web` starts it beside the API."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests import databases, npm, sessions
from tests.actors import PASSWORD
from tests.applications import DEFAULTS
from tests.browsers import shown
from tests.commands import ROOT, environment, eventually, free_port, running
from tests.images import png
from tests.processes import served

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page, Route

pytestmark = pytest.mark.slow
APP = ROOT / "examples" / "web"
API = "/api/v1"
ADMIN = {"FIRST_ADMIN_EMAIL": "admin@example.com", "FIRST_ADMIN_PASSWORD": PASSWORD}
# The rules of WCAG 2.2 AA, and what is usual beyond them.
RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]
AXE = """(rules) => axe
    .run({ runOnly: rules })
    .then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes.map((it) => it.html)]))
"""


@dataclass(frozen=True)
class Site:
    """The address of the pages, through which the API is reached as well."""

    page: str


@dataclass(frozen=True)
class Account:
    """An account, and another program that uses the API with it."""

    email: str
    http: httpx.AsyncClient

    async def sign_in(self) -> None:
        tokens = await sessions.sign_in(self.http, self.email)
        self.http.headers.update(sessions.bearer(tokens["access_token"]))

    async def send(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request that succeeds; return the JSON of the response."""
        response = await self.http.request(method, f"{API}{path}", json=body)
        assert response.is_success, response.text
        return response.json() if response.content else None

    async def link(self, site: Site, subject: str) -> str:
        """Return the link in a mail to this account, once the newest one has this subject."""
        for _ in range(400):
            mailbox = await self.http.get("/dev/mailbox", params={"to": self.email})
            mails = mailbox.json()["data"]
            if mails and mails[0]["subject"].endswith(subject):
                (link,) = mails[0]["links"]
                assert link.startswith(site.page), link
                return str(link)
            await asyncio.sleep(0.05)
        raise AssertionError(f"there is no mail {subject!r}")


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    npm.require_packages(APP)


@contextmanager
def front_end(page: str, api: str, log: Path) -> Iterator[None]:
    """Run `make dev-web` during the block."""
    command = [sys.executable, "-m", "tools.dev_web"]
    # Under CI, Vite would colour the address.
    settings = environment(FRONTEND_URL=page, API_URL=api, NO_COLOR=1)
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=settings, stdout=output, stderr=output, start_new_session=True
        )
    try:
        eventually(lambda: page in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    page = f"http://localhost:{free_port()}"
    with (
        databases.cloned_database(databases.server_url(request.config)) as url,
        served(url, workers=1, FRONTEND_URL=page, **ADMIN) as server,
    ):
        settings: dict[str, Any] = {"ENVIRONMENT": "test", "DATABASE_URL": url}
        settings |= {"FRONTEND_URL": page, "SECRET_KEY": DEFAULTS["secret_key"].get_secret_value()}
        folder = tmp_path_factory.mktemp("worker")
        with (
            running("worker", folder=folder, **settings) as worker,
            front_end(page, server.url, folder / "front-end"),
        ):
            yield Site(page)
            worker.kill(signal.SIGTERM)


@pytest.fixture
async def account(site: Site, request: pytest.FixtureRequest) -> AsyncIterator[Account]:
    """An account that only this test uses."""
    async with httpx.AsyncClient(base_url=site.page, timeout=30) as http:
        name = re.sub(r"\W|_", "-", request.node.name).strip("-")[:60]
        account = Account(f"{name}@example.com", http)
        registration = {"email": account.email, "password": PASSWORD}
        await account.send("POST", "/auth/register", registration)
        yield account


@pytest.fixture
async def page(browser_context: "BrowserContext", site: Site) -> "Page":
    from playwright.async_api import expect

    expect.set_options(timeout=20_000)
    page = await browser_context.new_page()
    # An error in a script fails the test at its next step.
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    await page.goto(f"{site.page}/sign-in")
    return page


async def sign_in(page: "Page", account: Account, password: str = PASSWORD) -> None:
    await page.get_by_label("E-mail or username").fill(account.email)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Sign in").click()
    await shown(page.get_by_role("button", name="Sign out")).to_be_visible()


async def press(page: "Page", name: str, *, inside: str | None = None) -> None:
    place = page.get_by_role(inside) if inside else page  # type: ignore[arg-type]  # a role
    await place.get_by_role("button", name=name, exact=True).click()


def notice(page: "Page") -> Any:
    return shown(page.locator(".notice"))


# --- Accounts, and the links in mails


async def test_from_registration_to_a_new_password(
    site: Site, page: "Page", account: Account
) -> None:
    await page.get_by_role("navigation").get_by_role("link", name="Register").click()
    # The new page is announced.
    await shown(page.get_by_role("heading", name="Register")).to_be_focused()
    email, password = page.get_by_label("E-mail"), page.get_by_label("Password")
    await email.fill(account.email)
    await password.fill("short")
    await press(page, "Register")
    await shown(page.get_by_role("alert")).to_have_text("Please correct the marked fields.")
    await shown(password).to_have_attribute("aria-invalid", "true")
    await shown(password).to_have_accessible_description("Must have at least 8 characters.")
    await shown(password).to_be_focused()
    await password.fill(PASSWORD)
    await press(page, "Register")
    await shown(email).to_have_accessible_description("Another account has this e-mail address.")
    await shown(email).to_be_focused()
    person = Account("grace@example.com", account.http)
    await email.fill(person.email)
    await press(page, "Register")
    await notice(page).to_contain_text(f"is on its way to {person.email}")

    # By the page of the mailbox, whose links open a tab.
    await page.goto(f"{site.page}/dev/mailbox")
    await page.get_by_role("button", name=person.email).click()
    await page.get_by_role("tab", name="Links").click()
    async with page.expect_popup() as opened:
        await page.get_by_role("link", name=f"{site.page}/verify-email#token=").click()
    page = await opened.value
    await press(page, "Confirm")
    await notice(page).to_have_text("Your address is confirmed.")
    assert page.url == f"{site.page}/sign-in"
    await sign_in(page, person)
    await shown(page.get_by_text("There are no items yet.")).to_be_visible()
    await press(page, "Sign out")
    await notice(page).to_have_text("You are signed out.")

    await page.goto(f"{site.page}/sign-in")
    await page.get_by_role("link", name="Forgot your password?").click()
    await page.get_by_label("E-mail").fill(person.email)
    await press(page, "Mail me a link")
    await notice(page).to_contain_text("a link is on its way")
    await page.goto(await person.link(site, "Choose a new password"))
    await page.get_by_label("New password").fill("12345678")
    await press(page, "Set the password")
    # A refused password leaves the link valid.
    await shown(page.get_by_label("New password")).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("New password").fill("another horse battery")
    await press(page, "Set the password")
    await notice(page).to_have_text("Your password is set. Sign in with it.")
    await sign_in(page, person, "another horse battery")


async def test_a_new_address_is_confirmed_by_mail(
    site: Site, page: "Page", account: Account
) -> None:
    await sign_in(page, account)
    await page.get_by_role("link", name="Account").click()
    profile = page.locator("section", has=page.get_by_role("heading", name="Profile"))
    await profile.get_by_label("Name", exact=True).fill("Ada Lovelace")
    await profile.get_by_label("E-mail").fill("moved@example.com")
    await profile.get_by_role("button", name="Save").click()
    await shown(profile.get_by_label("Password")).to_be_focused()
    await profile.get_by_label("Password").fill(PASSWORD)
    await profile.get_by_role("button", name="Save").click()
    await notice(page).to_have_text("A link was mailed to moved@example.com.")
    moved = Account("moved@example.com", account.http)
    await page.goto(await moved.link(site, "Please confirm your new e-mail address"))
    await press(page, "Confirm")
    await notice(page).to_have_text("Your address is confirmed.")
    await shown(page.get_by_label("E-mail")).to_have_value("moved@example.com")
    await page.goto(f"{site.page}/verify-email#token=used")
    await press(page, "Confirm")
    await shown(page.get_by_role("alert")).to_contain_text("link")


async def test_an_invited_user_chooses_a_password(site: Site, page: "Page") -> None:
    await page.goto(f"{site.page}/reset-password")
    await shown(page.get_by_text("This address is incomplete")).to_be_visible()
    async with httpx.AsyncClient(base_url=site.page, timeout=30) as http:
        await Account(ADMIN["FIRST_ADMIN_EMAIL"], http).sign_in()
        invited = Account("invited@example.com", http)
        await invited.send("POST", "/users", {"email": invited.email})
        await page.goto(await invited.link(site, "You have been invited"))
        await page.get_by_label("New password").fill(PASSWORD)
        await press(page, "Set the password")
        await notice(page).to_have_text("Your password is set. Sign in with it.")
        await sign_in(page, invited)


async def test_signing_in_by_keyboard(site: Site, page: "Page", account: Account) -> None:
    # The link to the content keeps the token in the address.
    link = f"{site.page}/reset-password#token=a"
    await page.goto(link)
    await shown(page.get_by_label("New password")).to_be_visible()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await shown(page.get_by_label("New password")).to_be_focused()
    assert page.url == link
    await page.goto(f"{site.page}/sign-in")
    await shown(page.get_by_label("Password")).to_be_visible()
    await page.keyboard.press("Tab")
    await shown(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await shown(page.get_by_label("E-mail or username")).to_be_focused()
    await page.keyboard.type(account.email)
    await page.keyboard.press("Tab")
    await page.keyboard.type("a wrong password")
    await page.keyboard.press("Enter")
    await shown(page.get_by_role("alert")).to_have_text(
        "The e-mail address or the password is wrong."
    )
    await shown(page.get_by_role("alert")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await shown(page.get_by_role("heading", name="Items", level=1)).to_be_focused()


async def test_a_session_that_ends_elsewhere(page: "Page", account: Account) -> None:
    await sign_in(page, account)
    await shown(page.get_by_text("There are no items yet.")).to_be_visible()
    await account.sign_in()
    await account.send("POST", "/auth/logout-all")
    await page.get_by_label("Title").fill("Tea")
    await press(page, "Add")
    await notice(page).to_have_text("Your session has ended. Please sign in again.")
    await shown(page.get_by_role("heading", name="Sign in")).to_be_focused()
    # The page that was left is shown again.
    await sign_in(page, account)
    await shown(page.get_by_role("heading", name="Items", level=1)).to_be_visible()
    await notice(page).to_have_text("")


async def test_another_tab_signs_in_as_somebody_else(
    site: Site, page: "Page", account: Account
) -> None:
    await account.sign_in()
    await account.send("POST", "/articles", {"title": "My draft"})
    other = Account("another-tab@example.com", account.http)
    await account.send("POST", "/auth/register", {"email": other.email, "password": PASSWORD})
    await sign_in(page, account)
    await page.get_by_role("link", name="Articles").click()
    await page.get_by_label("Only mine").check()
    await shown(page.get_by_role("link", name="My draft")).to_be_visible()

    tab = await page.context.new_page()
    await tab.goto(f"{site.page}/")
    await press(tab, "Sign out")
    # The own articles go, and the focus does not stay on a button that is gone.
    await shown(tab.get_by_role("link", name="My draft")).to_be_hidden()
    await shown(tab.get_by_role("heading", name="Articles", level=1)).to_be_focused()
    await tab.get_by_role("link", name="Sign in").click()
    await sign_in(tab, other)
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await notice(page).to_have_text(f"Another tab has signed in as {other.email}.")
    await shown(page.get_by_role("link", name="My draft")).to_be_hidden()
    await shown(page.get_by_label("Only mine")).not_to_be_checked()


async def test_signing_in_says_why_it_fails(page: "Page", account: Account) -> None:
    await page.route("**/users/me", lambda route: route.abort())
    await page.get_by_label("E-mail or username").fill(account.email)
    await page.get_by_label("Password").fill(PASSWORD)
    await press(page, "Sign in")
    await shown(page.get_by_role("alert")).to_contain_text("does not respond")
    await page.unroute("**/users/me")
    await press(page, "Sign in")
    await shown(page.get_by_role("button", name="Sign out")).to_be_visible()


# --- Items and articles


async def test_items(page: "Page", account: Account) -> None:
    await account.sign_in()
    titles = [f"Item {number:02}" for number in range(45)]
    await account.send("POST", "/items/bulk", {"data": [{"title": title} for title in titles]})
    await sign_in(page, account)
    listed = page.get_by_role("listitem")
    await shown(listed).not_to_have_count(0)
    assert await listed.count() < 45
    for _ in range(2):
        await page.mouse.wheel(0, 20_000)
        await page.wait_for_timeout(300)
    await page.get_by_text("45 in all.").scroll_into_view_if_needed()
    await shown(listed).to_have_count(45)
    await page.get_by_label("Search").fill("tem 4")
    await shown(listed).to_have_count(5)
    await page.get_by_label("Search").fill("Item 44")
    await shown(listed).to_have_count(1)

    await page.get_by_label("Title").fill("Tea")
    await page.get_by_label("Description").fill("Two hundred grams.")
    await press(page, "Add")
    await notice(page).to_have_text("“Tea” is added.")
    await shown(page.get_by_label("Title")).to_be_focused()
    await press(page, "Delete Item 44")
    await shown(page.get_by_role("dialog").get_by_role("button", name="Cancel")).to_be_focused()
    # As after a lost response: the client repeats the request, and the item is gone already.
    (item,) = (await account.send("GET", "/items?q=Item%2044"))["data"]
    await account.send("DELETE", f"/items/{item['id']}")
    await press(page, "Delete", inside="dialog")
    await notice(page).to_have_text("“Item 44” is deleted.")
    await shown(page.get_by_role("heading", name="Items", level=1)).to_be_focused()
    await shown(listed).to_have_text([re.compile("^TeaTwo hundred grams.")])


async def test_an_item_is_changed_at_once_and_restored_after_an_error(
    page: "Page", account: Account
) -> None:
    await account.sign_in()
    item = await account.send("POST", "/items", {"title": "Tea"})
    path = f"/items/{item['id']}"
    await sign_in(page, account)
    lost = asyncio.Event()

    async def lose(route: "Route") -> None:
        if route.request.method != "PATCH":
            await route.continue_()
            return
        await lost.wait()
        await route.abort()

    await page.route(f"**{API}{path}", lose)
    await press(page, "Edit Tea")
    form = page.get_by_role("form", name="Edit Tea")
    await shown(form.get_by_label("Title")).to_be_focused()
    await form.get_by_label("Title").fill("Coffee")
    await press(page, "Save")
    row = page.get_by_role("listitem")
    # The request is on its way.
    await shown(row.get_by_role("heading")).to_have_text("Coffee")
    await shown(row).to_have_attribute("aria-busy", "true")
    await shown(page.get_by_role("button", name="Edit Coffee")).to_be_disabled()
    lost.set()
    await shown(form.get_by_role("alert")).to_contain_text("does not respond")
    # The text of the user is kept, and the row below it is as it was.
    await shown(form.get_by_label("Title")).to_have_value("Coffee")
    await press(page, "Cancel")
    await shown(row.get_by_role("heading")).to_have_text("Tea")
    await shown(page.get_by_role("button", name="Edit Tea")).to_be_focused()
    await page.unroute(f"**{API}{path}")

    # Somebody else is faster.
    await press(page, "Edit Tea")
    await account.send("PATCH", path, {"title": "Green tea"})
    await page.get_by_role("listitem").get_by_label("Title").fill("Black tea")
    await press(page, "Save")
    await shown(page.get_by_role("alert")).to_contain_text("to “Green tea”")
    assert (await account.send("GET", path))["title"] == "Green tea"
    await press(page, "Save")
    await shown(row.get_by_role("heading")).to_have_text("Black tea")
    await shown(row).to_have_attribute("aria-busy", "false")
    assert (await account.send("GET", path))["title"] == "Black tea"

    # The message of the server appears beside the field.
    await press(page, "Edit Black tea")
    await page.get_by_role("listitem").get_by_label("Title").fill(" ")
    await press(page, "Save")
    title = page.get_by_role("listitem").get_by_label("Title")
    await shown(title).to_have_attribute("aria-invalid", "true")
    await shown(title).to_be_focused()


async def test_articles(site: Site, page: "Page", account: Account) -> None:
    await sign_in(page, account)
    await page.get_by_role("link", name="Articles").click()
    await page.get_by_role("link", name="New article").click()
    await page.get_by_label("Title").fill("Notes on the engine")
    await press(page, "Save the draft")
    await press(page, "Publish")
    await notice(page).to_have_text("A published article needs content.")
    await press(page, "Edit")
    await page.get_by_label("Text").fill("It weaves algebraic patterns.")
    await press(page, "Save")
    await notice(page).to_have_text("The article is saved.")

    await account.sign_in()
    path = f"/articles/{page.url.rpartition('/')[2]}"
    await account.send("PATCH", path, {"title": "Notes"})
    await press(page, "Publish")
    await notice(page).to_contain_text("has been changed elsewhere")
    await shown(page.get_by_role("heading", name="Notes", exact=True)).to_be_visible()
    await press(page, "Publish")
    await notice(page).to_have_text("The article is published.")

    # Somebody else is faster: the author's text is kept.
    await press(page, "Edit")
    await page.get_by_label("Text").fill("It weaves flowers and leaves.")
    await account.send("PATCH", path, {"title": "Notes by another"})
    await press(page, "Save")
    await shown(page.get_by_role("alert")).to_contain_text("Somebody else has changed")
    await shown(page.get_by_role("heading", name="Notes by another")).to_be_visible()
    await shown(page.get_by_label("Title")).to_have_value("Notes")
    await shown(page.get_by_label("Text")).to_have_value("It weaves flowers and leaves.")
    assert (await account.send("GET", path))["title"] == "Notes by another"
    await press(page, "Save")
    await notice(page).to_have_text("The article is saved.")
    assert (await account.send("GET", path))["title"] == "Notes"

    await press(page, "Sign out")
    await page.get_by_label("Search").fill("weaves")
    await page.get_by_role("link", name="Notes", exact=True).click()
    await shown(page.get_by_text("It weaves flowers and leaves.")).to_be_visible()
    await shown(page.get_by_role("button", name="Publish")).to_be_hidden()
    await page.goto(f"{site.page}/articles/0198a000-0000-7000-8000-000000000000")
    await shown(page.get_by_text("No article has this id.")).to_be_visible()


# --- The account


async def test_picture_sessions_export_and_deletion(
    site: Site, page: "Page", account: Account, tmp_path: Path
) -> None:
    await sign_in(page, account)
    await page.get_by_role("link", name="Account").click()
    picture = page.get_by_label("New picture")
    await picture.set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"text"})
    await shown(page.get_by_role("alert")).to_be_visible()
    held = asyncio.Event()

    async def hold(route: "Route") -> None:
        await held.wait()
        await route.continue_()

    await page.route("**/users/me/avatar", hold)
    large = png(200, 200, padding=1_000_000)
    await picture.set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": large})
    await shown(page.get_by_role("progressbar", name="Upload")).to_be_visible()
    held.set()
    await notice(page).to_have_text("Your picture is saved.")
    source = await page.get_by_role("img", name="Your picture").get_attribute("src")
    assert (await account.http.get(str(source))).content == large

    await press(page, "Remove")
    await press(page, "Remove", inside="dialog")
    await notice(page).to_have_text("Your picture is removed.")
    await shown(picture).to_be_focused()

    await account.sign_in()
    await page.reload()
    sessions = page.locator("section", has=page.get_by_role("heading", name="Sessions"))
    await shown(sessions.get_by_role("listitem")).to_have_count(2)
    await shown(sessions.get_by_role("listitem").filter(has_text="this one")).to_contain_text(
        "Chrome on Linux"
    )
    await press(page, "End")
    await notice(page).to_have_text("The session has ended.")
    await shown(page.get_by_role("heading", name="Sessions")).to_be_focused()
    assert (await account.http.get(f"{API}/users/me")).status_code == 401

    async with page.expect_download() as started:
        await press(page, "Download everything")
    file = tmp_path / "export.json"
    await (await started.value).save_as(file)
    assert json.loads(file.read_text())["user"]["email"] == account.email

    await press(page, "Delete the account")
    await press(page, "Delete the account", inside="dialog")
    await notice(page).to_have_text("Your account is deleted.")
    assert await page.context.cookies() == []
    await page.get_by_role("navigation").get_by_role("link", name="Sign in").click()
    await page.get_by_label("E-mail or username").fill(account.email)
    await page.get_by_label("Password").fill(PASSWORD)
    await press(page, "Sign in")
    await shown(page.get_by_role("alert")).to_contain_text("wrong")


# --- All pages


async def test_all_pages_are_accessible_and_fit_a_telephone(
    site: Site, page: "Page", account: Account
) -> None:
    await page.set_viewport_size({"width": 375, "height": 700})
    script = (APP / "node_modules" / "axe-core" / "axe.min.js").read_text()
    await account.sign_in()
    long = "A-long-word-without-any-break-" * 8
    body = {"title": long, "content": f"{long}\n\n{long}"}
    article = await account.send("POST", "/articles", body)
    await account.send("POST", "/items", {"title": long, "description": long})

    async def check(name: str) -> None:
        await page.evaluate(script)
        assert await page.evaluate(AXE, RULES) == [], name
        await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        assert await page.evaluate(AXE, ["color-contrast"]) == [], f"{name}, dark"
        await page.emulate_media(color_scheme="light", reduced_motion="reduce")
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= 375, f"{name} scrolls sideways: {width}"

    for path in (
        "/register",
        "/forgot-password",
        "/reset-password#token=a",
        "/nothing",
        "/sign-in",
    ):
        await page.goto(f"{site.page}{path}")
        await shown(page.get_by_role("heading", level=1)).to_be_visible()
        if await page.locator("form").count():
            await page.locator("form button").first.click()
            await shown(page.get_by_role("alert")).to_be_visible()
        await check(path)
    await sign_in(page, account)
    for path in ("/items", "/", f"/articles/{article['id']}", "/articles/new", "/account"):
        await page.goto(f"{site.page}{path}")
        await shown(page.get_by_text("Loading …")).to_have_count(0)
        if path == "/items":
            await press(page, f"Edit {long}")
            await press(page, "Cancel")
            await press(page, f"Delete {long}")
        await check(path)


# --- Without an API


async def test_it_says_that_the_api_does_not_respond(
    browser_context: "BrowserContext", tmp_path: Path
) -> None:
    address = f"http://localhost:{free_port()}"
    with front_end(address, "http://127.0.0.1:1", tmp_path / "log"):
        assert "No API responds at http://127.0.0.1:1" in (tmp_path / "log").read_text()
        page = await browser_context.new_page()
        await page.goto(address)
        sentence = "The API does not respond. Start it with `make dev`, then try again."
        await shown(page.get_by_role("status")).to_have_text(sentence)
        await shown(page.get_by_role("button", name="Try again")).to_be_visible()
