"""The server refuses connections before and after serving, and stops in order."""

import asyncio
import json
import signal
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from backend.server.bounds import Bounds
from backend.server.config import Config
from backend.server.protocol import Protocol
from backend.server.server import Server
from tests.commands import Running, eventually, fetch, free_port, running
from tests.processes import worker_pids

HALF_SENT = (
    b"POST /api/v1/auth/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
)
HALF_SENT += b'content-length: 100\r\n\r\n{"email": '


def port_of(serve: Running) -> int:
    return int(serve.url.rpartition(":")[2])


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
    except ConnectionRefusedError:
        return False
    return True


def read_all(connection: socket.socket) -> bytes:
    connection.settimeout(15)
    read = b""
    while received := connection.recv(65536):
        read += received
    return read


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_half_sent_requests_do_not_keep_the_port_open(
    own_database_url: str, tmp_path: Path, count: int
) -> None:
    options = ["--port", "0", "--workers", str(count)]
    settings: dict[str, Any] = {"DATABASE_URL": own_database_url, "SHUTDOWN_DELAY": "0"}
    with running("serve", *options, folder=tmp_path, **settings) as serve:
        port = port_of(serve)
        eventually(lambda: serve.output.count("Application startup complete") == count)
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
        for client in clients:
            client.sendall(HALF_SENT)
        time.sleep(0.2)
        serve.kill(signal.SIGTERM)
        eventually(lambda: not connects(port))
        assert serve.process.poll() is None, "the server ended before its requests did"
        for client in clients:
            head, _, body = read_all(client).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 "), head
            assert b"connection: close" in head.lower()
            assert json.loads(body)["error"] == "SERVICE_UNAVAILABLE"
            client.close()
        assert serve.wait() == 0


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_it_listens_when_it_can_answer(own_database_url: str, tmp_path: Path, count: int) -> None:
    port = free_port()
    options = ["--port", str(port), "--workers", str(count)]
    with running("serve", *options, folder=tmp_path, DATABASE_URL=own_database_url) as serve:
        refused = 0
        while not connects(port):
            refused += 1
            time.sleep(0.01)
        began = time.monotonic()
        assert fetch(f"http://127.0.0.1:{port}", "/health/live")[0] == 200
        assert time.monotonic() - began < 2, "the first connection waited for the start"
        assert refused > 0
        eventually(lambda: "serving" in serve.output)
        serve.kill(signal.SIGTERM)
        assert serve.wait() == 0


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes in /proc")
@pytest.mark.slow
def test_workers_end_with_their_parent(own_database_url: str, tmp_path: Path) -> None:
    port = free_port()
    options = ["--port", str(port), "--workers", "2"]
    settings: dict[str, Any] = {"DATABASE_URL": own_database_url, "SHUTDOWN_DELAY": "30"}
    with running("serve", *options, folder=tmp_path, **settings) as serve:
        eventually(lambda: serve.output.count("Application startup complete") == 2)
        workers = worker_pids(serve)
        assert len(workers) == 2
        serve.kill(signal.SIGKILL)
        eventually(lambda: not connects(port))
        serve.wait()
        eventually(lambda: not worker_pids(serve))
    folder = tmp_path / "again"
    folder.mkdir()
    with running("serve", *options, folder=folder, DATABASE_URL=own_database_url) as again:
        eventually(lambda: connects(port))
        again.kill(signal.SIGTERM)
        assert again.wait() == 0


@pytest.mark.slow
def test_draining_responses_end_their_connections(own_database_url: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"DATABASE_URL": own_database_url, "SHUTDOWN_DELAY": "2"}
    with (
        running("serve", "--port", "0", folder=tmp_path, **settings) as serve,
        httpx.Client(base_url=serve.url) as client,
    ):
        assert "connection" not in client.get("/health/live").headers
        serve.kill(signal.SIGTERM)
        eventually(lambda: client.get("/health/live").headers.get("connection") == "close")
        assert serve.wait() == 0


async def stopped(app: Any, patience: float, request: bytes) -> bytes:
    """Return the bytes sent to a client whose `request` precedes the stop of a server of `app`."""
    config = Config(
        app,
        http=partial(Protocol, bounds=Bounds(stop_seconds=0.2)),
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        timeout_graceful_shutdown=patience,
    )
    server = Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server._serve([listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(request)
        await asyncio.sleep(0.1)
        server.should_exit = True
        try:
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()
            await task


GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.mark.parametrize("request_", [b"", GET[:10]], ids=["nothing", "half a head"])
async def test_a_connection_without_a_request_is_closed(app: FastAPI, request_: bytes) -> None:
    assert await stopped(app, 5, request_) == b""


async def test_what_is_under_way_is_answered(app: FastAPI) -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.5)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    read = await stopped(slow, 5, GET)
    assert read.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in read.lower()
    assert b"done" in read


async def test_what_takes_too_long_is_a_problem(app: FastAPI) -> None:
    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    endless.state = app.state  # type: ignore[attr-defined]  # read for the settings
    head, _, body = (await stopped(endless, 0.3, GET)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert json.loads(body)["error"] == "SERVICE_UNAVAILABLE"


async def test_connections_that_wait_to_be_accepted_are_answered(app: FastAPI) -> None:
    """Closing a socket resets the connections in its queue."""
    config = Config(app, http=partial(Protocol, bounds=Bounds()), lifespan="off", log_config=None)
    server = Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server._serve([listening]))
        while not server.started:  # noqa: ASYNC110  # a plain flag
            await asyncio.sleep(0.01)
        server.should_exit = True
        # The event loop, which accepts connections, is blocked until the server stops.
        clients = [socket.create_connection(listening.getsockname()) for _ in range(20)]
        for client in clients:
            client.sendall(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await server.shutdown([listening])
        for client in clients:
            client.setblocking(False)
            assert (await asyncio.get_running_loop().sock_recv(client, 100)).startswith(
                b"HTTP/1.1 200 "
            )
            client.close()
        task.cancel()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes in /proc")
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_several_workers_end_with_the_terminal(
    own_database_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C and a closed terminal signal all processes of the group."""
    options = ["--port", "0", "--workers", "2"]
    with running("serve", *options, folder=tmp_path, DATABASE_URL=own_database_url) as serve:
        eventually(lambda: serve.output.count("Application startup complete") == 2)
        serve.kill(number, group=True)
        assert serve.wait() == 0
    assert "worker_died" not in serve.output


@pytest.mark.slow
def test_a_paused_group_of_processes_goes_on(own_database_url: str, tmp_path: Path) -> None:
    options = ["--port", "0", "--workers", "2"]
    with running("serve", *options, folder=tmp_path, DATABASE_URL=own_database_url) as serve:
        eventually(lambda: serve.output.count("Application startup complete") == 2)
        serve.kill(signal.SIGSTOP, group=True)
        # Longer than the time after which a silent worker counts as dead.
        time.sleep(32)
        # The parent resumes first, as may happen when a machine wakes up.
        serve.kill(signal.SIGCONT)
        time.sleep(1)
        serve.kill(signal.SIGCONT, group=True)
        time.sleep(1)
        assert "worker_died" not in serve.output
        serve.kill(signal.SIGTERM)
        assert serve.wait() == 0
