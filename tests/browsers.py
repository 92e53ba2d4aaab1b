"""Fixtures of a real browser, for tests of pages, cookies and origins."""

import os
import shutil
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str:
    """Return the browser's path. Without a browser skip the test; in CI fail it."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    missing = f"needs a browser: none of {', '.join(NAMES)} is installed"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def shown(target: Any) -> Any:
    """Return Playwright's expectation, which waits until it is met."""
    from playwright.async_api import expect

    return expect(target)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator["Browser"]:
    executable = chromium()
    # Imported here, because most test runs need no browser.
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        chromium_browser = await playwright.chromium.launch(
            executable_path=executable, args=ARGUMENTS
        )
        yield chromium_browser
        await chromium_browser.close()


@pytest.fixture
async def browser_context(browser: "Browser") -> AsyncIterator["BrowserContext"]:
    """A new browser profile, without cookies or stored data."""
    profile = await browser.new_context(locale="en-GB")
    profile.set_default_timeout(20_000)
    yield profile
    await profile.close()
