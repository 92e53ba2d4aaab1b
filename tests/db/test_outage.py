"""The server continues to run while its database is unavailable."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from alembic import command
from psycopg.sql import SQL, Identifier

from backend.db.schema.migrations import alembic_config
from backend.dev.embedded_host import recorded_pid
from backend.dev.embedded_server import EmbeddedServer, data_folder, embedded_server, server_url
from tests.commands import free_port
from tests.contract import check_problem

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ACCOUNT = {"email": "grace@example.com", "password": "NewUser123!"}
WRITERS, WRITES, KILLED_AFTER = 8, 125, 300
SECONDS_TO_RECOVER = 2.0


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The folder of a database server with fsync on, as in production."""
    made = Path(tempfile.mkdtemp(prefix="trellis-outage-"))
    yield made
    # For root, the data folder is a different one.
    for each in {made, data_folder(made)}:
        shutil.rmtree(each)


@pytest.fixture
def url(folder: Path) -> str:
    """The URL of a new, empty database, whose server is not running."""
    name = f"t_{uuid4().hex}"
    with embedded_server(folder) as server, psycopg.connect(server.url, autocommit=True) as admin:
        assert admin.execute("SHOW fsync").fetchone() == ("on",)
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    return server_url(folder, name)


def migrate(url: str) -> None:
    with alembic_config(url) as config:
        command.upgrade(config, "head")


@contextmanager
def serving(url: str, folder: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server process with uvicorn's command; its output is shown if the test fails."""
    settings = {
        "ENVIRONMENT": "test",
        "DATABASE_URL": url,
        "DATA_DIR": str(folder),
        "SECRET_KEY": "a key for tests, as long as a real one: 0123456789",
        "BCRYPT_COST": "4",
        "RATE_LIMIT_ENABLED": "false",
    }
    serve = [sys.executable, "-m", "uvicorn", "backend.main:app", "--port", str(port)]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [*serve, "--no-access-log"],
            cwd=folder,  # contains no `.env` of a developer
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
        process.terminate()
        assert process.wait(20) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
        print((folder / "output").read_text()[-8000:])  # noqa: T201


@asynccontextmanager
async def application(url: str, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of a server process that has just started."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with serving(url, folder, port) as process:
        async with httpx.AsyncClient(base_url=address, timeout=20) as client:
            await eventually(lambda: is_answered(process, client))
            yield client


async def is_answered(process: "subprocess.Popen[bytes]", client: httpx.AsyncClient) -> bool:
    assert process.poll() is None, "the server has ended"
    try:
        return (await client.get("/health/live")).status_code == 200
    except httpx.ConnectError:
        return False


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110  # other processes set no event
            await asyncio.sleep(0.02)


async def readiness(client: httpx.AsyncClient) -> tuple[int, dict[str, str]]:
    """Return the status code of the response, and the status of each check."""
    answer = await client.get("/health/ready")
    checks: dict[str, Any] = answer.json()["checks"]
    return answer.status_code, {name: check["status"] for name, check in checks.items()}


async def becomes_ready(client: httpx.AsyncClient) -> None:
    async def ready() -> bool:
        return (await readiness(client))[0] == 200

    await eventually(ready)


async def check_refused(client: httpx.AsyncClient) -> None:
    """Assert that reads and writes are refused as the contract says."""
    for answer in (
        await client.get("/api/v1/articles"),
        await client.post("/api/v1/auth/register", json=ACCOUNT),
        await client.post("/api/v1/auth/login", json=ACCOUNT),
    ):
        assert answer.status_code == 503, answer.text
        check_problem(answer)
        assert answer.json()["error"] == "SERVICE_UNAVAILABLE"


async def check_unavailable(client: httpx.AsyncClient) -> None:
    """Assert that requests are refused, that liveness is ok, and that readiness is not."""
    await check_refused(client)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        assert (await client.get("/health/live")).json() == {"status": "ok"}
        times.append(time.perf_counter() - started)
    assert min(times) < 0.05
    status, checks = await readiness(client)
    assert (status, checks["database"]) == (503, "error")


async def sign_up(client: httpx.AsyncClient) -> None:
    """Register an account and sign the client in."""
    registered = await client.post("/api/v1/auth/register", json=ACCOUNT)
    assert registered.status_code == 201, registered.text
    signed_in = await client.post("/api/v1/auth/login", json=ACCOUNT)
    client.headers["Authorization"] = f"Bearer {signed_in.json()['access_token']}"


async def test_database_may_come_late_and_go_and_come_again(url: str, folder: Path) -> None:
    with embedded_server(folder):
        migrate(url)
    async with application(url, folder) as client:
        await check_unavailable(client)
        assert (await readiness(client))[1]["startup"] == "error"
        with embedded_server(folder):
            await becomes_ready(client)
            # Only the startup work creates the default role.
            await sign_up(client)
            made = await client.post("/api/v1/items", json={"title": "Milk"})
            path = made.headers["location"]
        for title in ("Bread", "Cheese"):
            await check_unavailable(client)
            with embedded_server(folder):
                # The first request after the restart succeeds, without an error or a wait.
                written = await client.patch(path, json={"title": title})
                assert written.status_code == 200, written.text
                assert (await client.get(path)).json()["title"] == title
                assert (await readiness(client))[0] == 200


async def test_start_on_an_unmigrated_schema_waits_for_the_migration(
    url: str, folder: Path
) -> None:
    with embedded_server(folder):
        async with application(url, folder) as client:
            expected = {"database": "ok", "migrations": "error", "startup": "error"}
            status, checks = await readiness(client)
            assert (status, expected.items() <= checks.items()) == (503, True)
            assert (await client.get("/health/live")).status_code == 200
            await check_refused(client)
            migrate(url)
            await becomes_ready(client)
            await sign_up(client)


@dataclass
class Ledger:
    """The responses to the writers, and their times."""

    acknowledged: list[UUID] = field(default_factory=list)
    successes: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    def enter(self, answer: httpx.Response) -> None:
        if answer.status_code == 201:
            self.acknowledged.append(UUID(answer.json()["id"]))
            self.successes.append(time.monotonic())
        else:
            assert answer.status_code == 503, answer.text
            check_problem(answer)
            self.refusals.append(time.monotonic())
        if len(self.acknowledged) >= KILLED_AFTER:
            self.enough.set()


def kill_and_heal(server: EmbeddedServer) -> float:
    """Kill and restart the server; return the time at which it accepts connections again."""
    pid = recorded_pid(server.folder / "data")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while not server.ensure():
        time.sleep(0.01)
    return time.monotonic()


async def test_killed_database_loses_nothing_that_was_acknowledged(url: str, folder: Path) -> None:
    ledger = Ledger()

    async def write(client: httpx.AsyncClient, writer: int) -> None:
        done = 0
        while done < WRITES:
            answer = await client.post("/api/v1/items", json={"title": f"{writer}: {done}"})
            ledger.enter(answer)
            if answer.status_code == 201:
                done += 1
            else:
                await asyncio.sleep(0.01)

    with embedded_server(folder) as server:
        migrate(url)
        async with application(url, folder) as client:
            await becomes_ready(client)
            await sign_up(client)
            writers = [asyncio.create_task(write(client, each)) for each in range(WRITERS)]
            await ledger.enough.wait()
            returned = await asyncio.to_thread(kill_and_heal, server)
            await asyncio.gather(*writers)
            await becomes_ready(client)
        with psycopg.connect(url) as connection:
            stored = {row[0] for row in connection.execute("SELECT id FROM items")}
    assert len(ledger.acknowledged) == WRITERS * WRITES
    assert set(ledger.acknowledged) <= stored
    # A refused write may be stored if its connection died during COMMIT.
    assert len(stored) <= len(ledger.acknowledged) + WRITERS
    assert ledger.refusals, "no write was refused"
    recovered = min(moment for moment in ledger.successes if moment > ledger.refusals[0])
    assert recovered - returned < SECONDS_TO_RECOVER
