"""The mailbox page in a real browser."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI

from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.integrations.email import Message
from backend.modules.mail import service
from tests.browsers import shown
from tests.servers import serving

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, FrameLocator, Page

pytestmark = pytest.mark.slow

# Milliseconds. The page polls every two seconds, and a busy machine may be slow.
PATIENCE = 20_000
Open = Callable[..., Awaitable["Page"]]
Deliver = Callable[..., Awaitable[None]]


@pytest.fixture
async def complaints() -> AsyncIterator[list[str]]:
    """Errors that the browser reported; the test must remove those it expects."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
async def address(app: FastAPI) -> AsyncIterator[str]:
    async with serving(app) as url:
        yield url


@pytest.fixture
async def open_page(browser_context: "BrowserContext", address: str, complaints: list[str]) -> Open:
    async def open_it(width: int = 1100) -> "Page":
        from playwright.async_api import expect

        expect.set_options(timeout=PATIENCE)
        page = await browser_context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: complaints.append(said.text) if said.type == "error" else None,
        )
        await page.set_viewport_size({"width": width, "height": 700})
        await page.goto(f"{address}/dev/mailbox")
        return page

    return open_it


@pytest.fixture
def send(context: Context) -> Deliver:
    async def send_one(number: int, **values: str) -> None:
        given = {
            "to": f"person{number}@example.com",
            "subject": f"Mail {number}",
            "text": f"Text {number}: https://example.com/a#token=t{number}.\n",
            "html": f'<p style="color: rgb(1, 2, 3)">HTML {number}</p>',
            "id": f"page.{number}",
        }
        await service.deliver(context, SYSTEM, Message(**{**given, **values}))

    return send_one


def frame_of(page: "Page") -> "FrameLocator":
    return page.frame_locator("iframe")


async def test_mails_appear_by_themselves_and_show_all_their_forms(
    open_page: Open, send: Deliver
) -> None:
    page = await open_page()
    await shown(page.get_by_text("No mail yet")).to_be_visible()
    await shown(page.get_by_role("button", name="Delete all")).to_be_disabled()
    await send(1)
    await shown(page.get_by_role("heading", name="Mail 1")).to_be_visible()
    await shown(page.get_by_text("No mail yet")).to_be_hidden()
    paragraph = frame_of(page).get_by_text("HTML 1")
    await shown(paragraph).to_have_css("color", "rgb(1, 2, 3)")
    await page.get_by_role("tab", name="Text").click()
    link = page.get_by_role("link", name="https://example.com/a#token=t1", exact=True)
    await shown(link).to_be_visible()
    assert await link.get_attribute("href") == "https://example.com/a#token=t1"
    await shown(page.locator("pre")).to_have_text("Text 1: https://example.com/a#token=t1.\n")
    await page.get_by_role("tab", name="Links (1)").click()
    await shown(link).to_be_visible()
    assert await link.get_attribute("target") == "_blank"

    # A later mail is marked, and does not move the mail being read.
    await send(2)
    await shown(page).to_have_title("(1) Mailbox")
    await shown(page.get_by_role("heading", name="Mail 1")).to_be_visible()
    rows = page.get_by_role("listitem").locator(".subject")
    await shown(rows).to_have_text(["Mail 2", "Mail 1"])


async def test_nothing_of_a_mail_runs(
    open_page: Open, send: Deliver, complaints: list[str]
) -> None:
    attack = "<img src=data:, onerror=\"top.document.title='owned';alert(1)\">"
    script = "<script>top.document.title='owned';alert(1)</script>"
    await send(
        1,
        subject=attack,
        text=f"{attack} {script} javascript:alert(1)",
        html=f'{attack}{script}<a href="javascript:alert(1)">a</a><p>the end</p>',
    )
    page = await open_page()
    page.on("dialog", lambda _: complaints.append("a dialog"))
    await shown(frame_of(page).get_by_text("the end")).to_be_visible()
    await shown(page.get_by_role("heading", level=2, name=attack)).to_be_visible()
    await page.get_by_role("tab", name="Text").click()
    await shown(page.locator("pre")).to_contain_text(script)
    assert await page.locator("pre a").count() == 0
    assert await page.title() == "Mailbox"
    # The frame's sandbox and the page's policy each suffice; both are set.
    sandbox = await page.locator("iframe").get_attribute("sandbox")
    assert sandbox == "allow-popups allow-popups-to-escape-sandbox"
    # The browser reports the scripts that it has blocked, and nothing else.
    assert complaints
    assert all("script" in each.lower() for each in complaints), complaints
    complaints.clear()


async def test_links_of_a_mail_open_beside_the_mailbox(
    open_page: Open, send: Deliver, address: str
) -> None:
    url = f"{address}/health#token=a_b-c"
    await send(1, html=f'<!doctype html><html><head></head><body><a href="{url}">Go</a></body>')
    page = await open_page()
    async with page.context.expect_page() as opened:
        await frame_of(page).get_by_role("link", name="Go").click()
    other = await opened.value
    await other.wait_for_url(url)
    assert await other.evaluate("document.body.innerText.includes('ok')")
    assert await other.evaluate("window.opener") is None
    await shown(page.get_by_role("heading", name="Mail 1")).to_be_visible()


async def test_keys_walk_the_list_and_the_tabs(open_page: Open, send: Deliver) -> None:
    for number in (1, 2, 3):
        await send(number)
    page = await open_page()
    heading = page.get_by_role("heading", level=2)
    await shown(heading).to_have_text("Mail 3")
    for key, expected in [
        ("ArrowDown", "Mail 2"),
        ("ArrowDown", "Mail 1"),
        ("ArrowDown", "Mail 1"),
        ("ArrowUp", "Mail 2"),
    ]:
        await page.keyboard.press(key)
        await shown(heading).to_have_text(expected)
        await shown(page.locator("#list button:focus .subject")).to_have_text(expected)
    await page.get_by_role("tab", name="HTML").click()
    await page.keyboard.press("ArrowRight")
    await shown(page.get_by_role("tab", name="Text")).to_be_focused()
    await shown(page.get_by_role("tabpanel", name="Text")).to_be_visible()
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("ArrowLeft")
    await shown(page.get_by_role("tab", name="Links")).to_be_focused()


async def test_deleting_all(open_page: Open, send: Deliver) -> None:
    await send(1)
    page = await open_page()
    await page.get_by_role("button", name="Delete all").click()
    await shown(page.get_by_text("No mail yet")).to_be_visible()
    await shown(page.get_by_role("article")).to_be_hidden()


async def test_a_server_that_is_away_is_told_and_asked_again(
    open_page: Open, send: Deliver, complaints: list[str]
) -> None:
    page = await open_page()
    await shown(page.get_by_text("No mail yet")).to_be_visible()
    await page.context.set_offline(True)
    await shown(page.get_by_role("status")).to_have_text(
        "The server does not answer; trying again."
    )
    await send(1)
    await page.context.set_offline(False)
    await shown(page.get_by_role("heading", name="Mail 1")).to_be_visible()
    await shown(page.get_by_role("status")).to_be_hidden()
    assert all("ERR_INTERNET_DISCONNECTED" in each for each in complaints), complaints
    complaints.clear()


async def test_it_fits_a_telephone(open_page: Open, send: Deliver) -> None:
    long = "a-very-long-word-without-any-break-in-it-" * 4
    await send(
        1, subject=long, to=f"{'x' * 60}@{'y' * 60}.example", text=long, html=f"<p>{long}</p>"
    )
    await send(2)
    page = await open_page(width=400)
    await shown(page.get_by_role("listitem")).to_have_count(2)
    await shown(page.get_by_role("article")).to_be_hidden()
    await page.get_by_role("button", name=long).click()
    await shown(page.get_by_role("heading", name=long)).to_be_visible()
    await shown(page.get_by_role("list", name="Mails, newest first")).to_be_hidden()
    for tab in ("Text", "Links", "HTML"):
        await page.get_by_role("tab", name=tab).click()
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= 400, f"{tab} scrolls sideways: {width}"
    await page.get_by_role("button", name="All mails").click()
    await shown(page.get_by_role("listitem")).to_have_count(2)
