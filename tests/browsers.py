"""A real browser, for what only a browser can tell: pages, cookies, origins."""

import os
import shutil
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

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
    """Where the browser is. Without one the test is skipped; under CI it fails."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    missing = f"needs a browser: none of {', '.join(NAMES)} is installed"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator["Browser"]:
    executable = chromium()
    # Imported late: most runs of a few tests need no browser.
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield launched
        await launched.close()


@pytest.fixture
async def browser_context(browser: "Browser") -> AsyncIterator["BrowserContext"]:
    """A person who was never here: no cookies, nothing stored."""
    made = await browser.new_context(locale="en-GB")
    # What is waited for is on this machine.
    made.set_default_timeout(20_000)
    yield made
    await made.close()
