"""The server of one process: when it listens, how it drains, and how it stops."""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from types import FrameType

import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from backend.server.config import Config
from backend.server.protocol import Protocol, State

log = structlog.get_logger()

# A service manager signals every process of a service, and the parent signals its workers again.
SAME_REQUEST_SECONDS = 1.0
# Connections that are accepted in one iteration of the event loop, beside the first.
MORE_CONNECTIONS = 32


class Server(uvicorn.Server):
    """uvicorn's server, with a drain before it stops and without lost connections when it does.

    Sockets that are passed in need only be bound: they listen once the application has started.
    """

    config: Config
    server_state: State

    def __init__(self, config: Config, *, on_ready: Callable[[], None] = lambda: None) -> None:
        """`on_ready` is called once the application has started and the sockets listen."""
        super().__init__(config)
        self._on_ready = on_ready
        self.server_state = State()
        self._asked_at = 0.0
        # Responses for which connections have been accepted.
        self._responded = 0
        self._connecting: set[asyncio.Task[object]] = set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first SIGTERM, stop at the next signal."""
        if sig != signal.SIGTERM or not self.config.drain_seconds or not self.started:
            super().handle_exit(sig, frame)
        elif not self._asked_at:
            self._asked_at = time.monotonic()
            self._drain()
        elif time.monotonic() - self._asked_at > SAME_REQUEST_SECONDS:
            super().handle_exit(sig, frame)

    def _drain(self) -> None:
        self.server_state.draining = True
        self.config.loaded_app.state.context.state.draining = True

    async def on_tick(self, counter: int) -> bool:
        if self._asked_at and time.monotonic() - self._asked_at >= self.config.drain_seconds:
            self.should_exit = True
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen on the sockets, which are required."""
        assert sockets is not None
        try:
            await super().startup([])
            for each in sockets:
                self.servers.append(
                    await asyncio.get_running_loop().create_server(
                        partial(self._accept, each),
                        sock=each,
                        ssl=self.config.ssl,
                        backlog=self.config.backlog,
                    )
                )
        except OSError as error:
            # Another process may begin to listen between bind and listen.
            log.error("cannot_listen", reason=error.strerror)
            await self.lifespan.shutdown()
            sys.exit(STARTUP_FAILURE)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.server_state.draining = True
        await self._stop_listening(sockets or [])
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                await self._wait_tasks_to_complete()
        except TimeoutError:
            await self._give_up()
        # Also after a second Ctrl-C: the lifespan holds connections and temporary state.
        await self.lifespan.shutdown()

    async def _stop_listening(self, sockets: list[socket.socket]) -> None:
        """Accept every connection that has arrived, and refuse later ones.

        The kernel resets connections that wait in the queue of a closing socket, and a proxy then
        answers 502 for a write that it has sent.
        """
        arrived = [each for listening in sockets for each in _arrived(listening)]
        for server in self.servers:
            server.close()
        for listening in sockets:
            listening.close()
        for each in arrived:
            await self._connect(each)
        # The event loop tells protocols of accepted connections in its next iterations.
        await asyncio.sleep(0.05)

    def _accept(self, listening: socket.socket) -> asyncio.Protocol:
        """Return the protocol of an accepted connection; accept some that wait behind it.

        uvloop accepts one connection in each iteration of the event loop. An iteration of a busy
        process serves many requests, so the last of 500 new clients would wait for seconds while
        the others repeat their requests. Requests that only wait, such as exports to slow readers,
        are no such work: this process leaves connections to the other processes that listen.
        """
        state = self.server_state
        done = min(state.total_requests - self._responded, len(state.tasks))
        most = min(done, MORE_CONNECTIONS)
        self._responded = state.total_requests - (done - most)
        loop = asyncio.get_running_loop()
        for each in islice(_arrived(listening), most):
            task = loop.create_task(self._connect(each))
            # The event loop keeps only weak references to tasks.
            self._connecting.add(task)
            task.add_done_callback(partial(self._connected, each))
        return self._make_protocol()

    async def _connect(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(self._make_protocol, accepted, ssl=self.config.ssl)

    def _connected(self, accepted: socket.socket, task: asyncio.Task[object]) -> None:
        self._connecting.discard(task)
        # The event loop prints a traceback for an error that nobody has read.
        if task.cancelled() or (error := task.exception()) is None:
            return
        accepted.close()
        log.warning("connection_not_accepted", reason=type(error).__name__)

    def _make_protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn's own
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def _give_up(self) -> None:
        """End the requests that take longer than a stop may."""
        log.warning("requests_cancelled", count=len(self.server_state.tasks))
        for connection in list(self.server_state.connections):
            if isinstance(connection, Protocol):
                connection.give_up_request()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _arrived(listening: socket.socket) -> Iterator[socket.socket]:
    """Accept and yield the connections that have arrived."""
    while True:
        try:
            connection, _ = listening.accept()
        except ConnectionAbortedError:
            # The peer has gone; others may wait behind it.
            continue
        except OSError:
            return
        connection.setblocking(False)
        yield connection
