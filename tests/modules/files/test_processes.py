"""Files in real processes: a kill between object and row, and scripts in a browser."""

import asyncio
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from backend.core.context import Context
from backend.modules.files.jobs import sweep
from tests.actors import PASSWORD, Actor
from tests.applications import make_context
from tests.commands import eventually
from tests.images import png
from tests.modules.files.test_files import SCRIPTS, store, stored_at
from tests.processes import served
from tests.servers import serving

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

pytestmark = pytest.mark.slow
AVATAR = "/api/v1/users/me/avatar"


def test_a_kill_between_object_and_row(own_database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    storage_url = f"file://{folder}"
    form: dict[str, Any] = {"file": ("a.png", png())}
    with (
        served(own_database_url, workers=2, STORAGE_URL=storage_url) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
        psycopg.connect(own_database_url) as locking,
        ThreadPoolExecutor() as threads,
    ):
        account = {"email": "ada@example.com", "password": PASSWORD}
        assert client.post("/api/v1/auth/register", json=account).status_code == 201
        tokens = client.post("/api/v1/auth/login", json=account).json()
        client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        # The row waits for this lock; the object does not.
        locking.execute("LOCK TABLE files IN EXCLUSIVE MODE")
        sent = threads.submit(client.put, AVATAR, files=form)
        eventually(lambda: folder.exists() and len(list(folder.iterdir())) == 1)
        (orphan,) = folder.iterdir()
        for pid in server.worker_pids():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            sent.result()
        locking.rollback()
        eventually(server.has_all_workers)
        eventually(server.is_ready)
        assert client.get("/api/v1/users/me").json()["avatar_url"] is None
        url = client.put(AVATAR, files=form).json()["avatar_url"]
        os.utime(orphan, (time.time() - 7200,) * 2)
        asyncio.run(swept(own_database_url, storage_url))
        assert [each.name for each in folder.iterdir()] == [url.removeprefix("/files/")]
        assert client.get(url).content == png()


async def swept(database_url: str, storage_url: str) -> None:
    context = make_context(database_url, storage_url=SecretStr(storage_url))
    await sweep(context)
    await context.database.close()


async def test_a_browser_runs_no_script_of_a_file(
    ada: Actor,
    app: FastAPI,
    context: Context,
    tmp_path: Path,
    browser_context: "BrowserContext",
) -> None:
    context = app.state.context = stored_at(context, f"file://{tmp_path}/objects")
    # Imported here, because most test runs need no browser.
    from playwright.async_api import Error as PlaywrightError

    page = await browser_context.new_page()
    async with serving(app) as url:
        for number, content in enumerate(SCRIPTS):
            name = f"{number}.{('html', 'svg', 'xhtml')[number]}"
            key = await store(context, ada, content, filename=name, is_public=True)
            async with page.expect_download() as download:
                with suppress(PlaywrightError):
                    # "Download is starting" is an error of the navigation.
                    await page.goto(f"{url}/files/{key}")
            assert (await download.value).suggested_filename == name
        key = await store(context, ada, png(), is_public=True)
        await page.goto(f"{url}/files/{key}")
        assert await page.title() != "ran"
