"""Connections that a process accepts in one iteration of uvloop, which serves in production."""

import asyncio
import gc
import socket
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, cast

import uvloop
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from backend.server.bounds import Bounds
from backend.server.config import Config
from backend.server.protocol import Protocol
from backend.server.server import MORE_CONNECTIONS, Server

GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n"
LENGTH = (b"content-length", b"4")
LAST = b"connection: close\r\n\r\n"


class Caller(asyncio.Protocol):
    """A client that repeats its request after each response."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio.Transport.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(GET + b"\r\n")

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"done"):
            self.transport.write(GET + b"\r\n")


class Site:
    """A server whose application responds once `free` is set, and its clients."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.free = asyncio.Event()
        self.accepted = 0
        config = Config(
            self._app,
            interface="asgi3",
            http=self._protocol,
            lifespan="off",
            log_config=None,
            proxy_headers=False,
        )
        self.server = Server(config)
        self.state = self.server.server_state
        self.listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=200))

    def _protocol(self, **options: Any) -> Protocol:
        self.accepted += 1
        return Protocol(**options, bounds=Bounds())

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.free.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [LENGTH]})
        await send({"type": "http.response.body", "body": b"done"})

    def connect(self, count: int, request: bytes = GET + LAST) -> list[socket.socket]:
        """Connect so many clients, each with a request; the kernel keeps them for the server."""
        address = self.listening.getsockname()
        clients = [
            self._stack.enter_context(socket.create_connection(address)) for _ in range(count)
        ]
        for client in clients:
            client.sendall(request)
        return clients

    async def work(self, count: int) -> None:
        """Keep the server busy with so many requests at a time."""
        self.free.set()
        loop = asyncio.get_running_loop()
        for _ in range(count):
            transport, _ = await loop.create_connection(Caller, *self.listening.getsockname())
            self._stack.callback(transport.close)
        await iterations(lambda: self.state.total_requests > 10 * count)


async def iterations(is_done: Callable[[], bool]) -> int:
    """Return the number of iterations of the event loop until `is_done`, for at most 10 s."""
    count, latest = 0, time.monotonic() + 10
    while not is_done():
        assert time.monotonic() < latest
        await asyncio.sleep(0)
        count += 1
    return count


def with_uvloop(scenario: Callable[[Site], Coroutine[None, None, None]]) -> None:
    """Run a scenario with its server in an event loop of uvloop, in a thread of its own."""

    async def run() -> None:
        with ExitStack() as stack:
            site = Site(stack)
            serving = asyncio.create_task(site.server._serve([site.listening]))
            try:
                while not site.server.started:  # noqa: ASYNC110  # a plain flag
                    await asyncio.sleep(0.001)
                await scenario(site)
            finally:
                site.free.set()
                site.server.should_exit = True
                await serving

    with ThreadPoolExecutor(1) as pool:
        pool.submit(uvloop.run, run()).result(30)


def test_a_busy_process_accepts_several_connections_together() -> None:
    async def scenario(site: Site) -> None:
        await site.work(32)
        clients = site.connect(100)
        assert await iterations(lambda: site.accepted == 132) <= 40
        loop = asyncio.get_running_loop()
        for client in clients:
            client.setblocking(False)
            assert (await loop.sock_recv(client, 100)).startswith(b"HTTP/1.1 200 ")

    with_uvloop(scenario)


def test_an_iteration_accepts_a_limited_number() -> None:
    async def scenario(site: Site) -> None:
        await site.work(100)
        site.connect(100)
        before, most = site.accepted, 0

        def is_done() -> bool:
            nonlocal before, most
            most, before = max(most, site.accepted - before), site.accepted
            return site.accepted == 200

        await iterations(is_done)
        assert 1 < most <= 1 + MORE_CONNECTIONS

    with_uvloop(scenario)


def test_a_process_whose_requests_wait_leaves_connections_to_others() -> None:
    async def scenario(site: Site) -> None:
        site.connect(40)
        await iterations(lambda: len(site.state.tasks) == 40)
        site.connect(60)
        assert await iterations(lambda: site.accepted == 100) >= 60

    with_uvloop(scenario)


def test_a_process_without_requests_leaves_connections_to_others() -> None:
    async def scenario(site: Site) -> None:
        site.free.set()
        site.connect(20)
        await iterations(lambda: site.state.total_requests == 20 and not site.state.tasks)
        clients = site.connect(20, b"")
        assert await iterations(lambda: site.accepted == 40) >= 20
        for client in clients:
            client.close()

    with_uvloop(scenario)


def test_a_connection_that_cannot_be_opened_is_one_line_of_the_log() -> None:
    async def scenario(site: Site) -> None:
        await site.work(32)
        unread: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, error: unread.append(error))
        make = site.server.config.http_protocol_class

        def fail_in_a_task(**options: Any) -> asyncio.Protocol:
            if asyncio.current_task():
                raise OSError("gone")
            return make(**options)

        with capture_logs() as log:
            site.server.config.http_protocol_class = fail_in_a_task  # type: ignore[assignment]  # any callable will do
            site.connect(50)
            await iterations(lambda: len(log) > 0 and not site.server._connecting)
        gc.collect()
        assert {(each["event"], each["reason"]) for each in log} == {
            ("connection_not_accepted", "OSError")
        }
        assert unread == []

    with_uvloop(scenario)
