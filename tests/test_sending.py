"""Clients that do not read their responses, over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from backend.server import slow_readers as sending
from tests.test_connections import PATIENCE, SHORT, door

MIB = 1024 * 1024
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
linux = pytest.mark.skipif(
    not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the kernel has no TCP_USER_TIMEOUT"
)


@dataclass
class Answers:
    """An application whose responses have one size; `calls` counts its requests."""

    size: int
    calls: int = 0
    sent: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    body: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.body = b"x" * self.size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        length = (b"content-length", b"%d" % self.size)
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": self.body})
        self.sent.release()


class Reader:
    """A client that reads only on request."""

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.socket.send(request)

    async def read(self, size: int) -> int:
        """Read this many bytes, or fewer if the connection ends, and return the number."""
        loop = asyncio.get_running_loop()
        received = 0
        with suppress(ConnectionResetError):
            while received < size:
                part = min(size - received, 65536)
                data = await asyncio.wait_for(loop.sock_recv(self.socket, part), PATIENCE)
                if not data:
                    break
                received += len(data)
        return received


@dataclass
class Server:
    app: Answers
    port: int
    readers: list[Reader] = field(default_factory=list)

    async def reader(self, request: bytes = REQUEST) -> Reader:
        """Connect a client that has sent a request and whose response is ready to be read."""
        made = Reader(self.port, request)
        self.readers.append(made)
        await asyncio.wait_for(self.app.sent.acquire(), PATIENCE)
        return made


@asynccontextmanager
async def answering(size: int, **bounds: Any) -> AsyncIterator[Server]:
    app = Answers(size)
    async with door(app, keep_alive=60, **bounds) as opened:
        made = Server(app, opened.port)
        try:
            yield made
        finally:
            for each in made.readers:
                each.socket.close()


@pytest.mark.parametrize("header", [b"", b"Connection: close\r\n"])
async def test_an_answer_that_nobody_reads_is_given_up(header: bytes) -> None:
    async with answering(4 * MIB, write_seconds=SHORT) as server:
        reader = await server.reader(REQUEST[:-2] + header + b"\r\n")
        await asyncio.sleep(4 * SHORT)
        assert await reader.read(4 * MIB) < MIB


@pytest.mark.slow
async def test_a_slow_reader_gets_its_answer() -> None:
    size = 3 * MIB
    async with answering(size, write_seconds=2 * SHORT) as server:
        reader = await server.reader()
        received = 0
        for _ in range(12):
            await asyncio.sleep(SHORT / 2)
            received += await reader.read(size // 12)
        assert received == size


@linux
@pytest.mark.slow
async def test_an_answer_that_only_the_kernel_holds_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "KERNEL_SECONDS", 0)
    async with answering(100_000, write_seconds=SHORT) as server:
        reader = await server.reader()
        await asyncio.sleep(8 * SHORT)
        assert await reader.read(100_000) < 100_000


async def test_the_kernel_takes_little_in_advance() -> None:
    async with answering(4 * MIB, unread_bytes=1) as server:
        readers = [await server.reader() for _ in range(2)]
        # The first connection was closed for the second: it gets only what the kernel had buffered.
        assert await readers[0].read(4 * MIB) < MIB
        assert await readers[1].read(4 * MIB) == 4 * MIB


async def test_those_who_read_nothing_for_longest_make_room() -> None:
    async with answering(2 * MIB, unread_bytes=12 * MIB) as server:
        slow = await server.reader()
        unread = [await server.reader() for _ in range(5)]
        received = await slow.read(MIB)
        unread += [await server.reader() for _ in range(5)]
        assert await slow.read(2 * MIB - received) == 2 * MIB - received
        found = [await each.read(2 * MIB) for each in unread]
        assert max(found[:4]) < MIB
        assert found[5:] == [2 * MIB] * 5


@pytest.mark.slow
async def test_a_few_bytes_now_and_then_take_no_place_from_those_who_read() -> None:
    bounds = {"unread_bytes": 12 * MIB, "write_seconds": 6 * SHORT, "new_rate": MIB}
    async with answering(2 * MIB, **bounds) as server:
        reading = await server.reader()
        dripping = [await server.reader() for _ in range(5)]
        received = await reading.read(MIB)
        # Wait until the server has noticed the read.
        await asyncio.sleep(2 * SHORT)
        dripped = [await each.read(256 * 1024) for each in dripping]
        await asyncio.sleep(2 * SHORT)
        fresh = [await server.reader() for _ in range(3)]
        assert await reading.read(2 * MIB - received) == 2 * MIB - received
        assert [await each.read(2 * MIB) for each in fresh] == [2 * MIB] * 3
        rest = [
            await each.read(2 * MIB - done) for each, done in zip(dripping, dripped, strict=True)
        ]
        assert min(rest) < MIB


@pytest.mark.slow
async def test_an_answer_that_is_read_too_slowly_ends() -> None:
    bounds = {"write_seconds": 6 * SHORT, "slow_seconds": 2 * SHORT, "slow_rate": 4 * MIB}
    async with answering(4 * MIB, **bounds) as server:
        slow, quick = await server.reader(), await server.reader()
        assert await quick.read(4 * MIB) == 4 * MIB
        received = 0
        for _ in range(8):
            await asyncio.sleep(SHORT / 2)
            received += await slow.read(64 * 1024)
        assert received + await slow.read(4 * MIB - received) < 2 * MIB


@pytest.mark.parametrize("pause", [0, 0.05])
async def test_the_next_request_waits_until_the_answer_is_read(pause: float) -> None:
    async with answering(4 * MIB) as server:
        reader = await server.reader()
        await asyncio.sleep(pause)
        reader.socket.send(REQUEST * 3)
        await asyncio.sleep(SHORT)
        assert server.app.calls == 1
        assert await reader.read(16 * MIB) == 16 * MIB
        assert server.app.calls == 4


async def test_those_who_do_not_read_leave_room_for_connections() -> None:
    async with answering(4 * MIB, connections=2, spare=0, fresh_seconds=SHORT) as server:
        unread = [await server.reader() for _ in range(2)]
        await asyncio.sleep(2 * SHORT)
        assert await (await server.reader()).read(4 * MIB) == 4 * MIB
        assert await unread[0].read(4 * MIB) < MIB
