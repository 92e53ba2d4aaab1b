"""Connections that a process accepts in one iteration of uvloop, which serves in production."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import uvloop
from starlette.types import Receive, Scope, Send

from backend.server.bounds import Bounds
from backend.server.config import Config
from backend.server.protocol import Protocol
from backend.server.server import MORE_CONNECTIONS, Server

GET = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


class Site:
    """A server whose application responds once `free` is set, and its clients."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.free = asyncio.Event()
        http = partial(Protocol, bounds=Bounds())
        config = Config(
            self._app,
            interface="asgi3",
            http=http,
            lifespan="off",
            log_config=None,
            proxy_headers=False,
        )
        self.server = Server(config)
        self.listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=200))

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.free.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    def connect(self, count: int) -> list[socket.socket]:
        """Connect so many clients, each with a request; the kernel keeps them for the server."""
        address = self.listening.getsockname()
        clients = [
            self._stack.enter_context(socket.create_connection(address)) for _ in range(count)
        ]
        for client in clients:
            client.sendall(GET)
        return clients

    async def iterations(self, connections: int, requests: int) -> int:
        """Return the number of iterations until the server has so many of both."""
        state = self.server.server_state
        for count in range(1000):
            if len(state.connections) == connections and len(state.tasks) == requests:
                return count
            await asyncio.sleep(0)
        raise AssertionError(f"{len(state.connections)} connections, {len(state.tasks)} requests")


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
        site.connect(8)
        await site.iterations(8, 8)
        clients = site.connect(100)
        # Each takes one connection and one for each request in progress.
        assert await site.iterations(108, 108) <= 12
        site.free.set()
        loop = asyncio.get_running_loop()
        for client in clients:
            client.setblocking(False)
            assert (await loop.sock_recv(client, 100)).startswith(b"HTTP/1.1 200 ")

    with_uvloop(scenario)


def test_an_iteration_accepts_a_limited_number() -> None:
    async def scenario(site: Site) -> None:
        site.connect(50)
        await site.iterations(50, 50)
        site.connect(100)
        state, most = site.server.server_state, 0
        while (before := len(state.connections)) < 150:
            await asyncio.sleep(0)
            most = max(most, len(state.connections) - before)
        assert 1 < most <= 1 + MORE_CONNECTIONS

    with_uvloop(scenario)


def test_a_process_without_requests_leaves_connections_to_others() -> None:
    async def scenario(site: Site) -> None:
        address = site.listening.getsockname()
        clients = [socket.create_connection(address) for _ in range(20)]
        # They have no requests.
        assert await site.iterations(20, 0) >= 20
        for client in clients:
            client.close()

    with_uvloop(scenario)
