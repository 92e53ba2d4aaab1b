"""The head of a response and the first part of its body are written together."""

import asyncio
import gc
import weakref

import pytest
from starlette.types import Receive, Scope, Send

from tests.test_connections import PATIENCE, door

LENGTH = (b"content-length", b"4")


class Application:
    """Sends the head, and the body once `goes_on` is set; without `body` it sends the head only."""

    def __init__(self, *, body: bool = True, reads: bool = False) -> None:
        self.body, self.reads = body, reads
        self.has_begun, self.goes_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.reads:
            await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [LENGTH]})
        self.has_begun.set()
        await self.goes_on.wait()
        if self.body:
            await send({"type": "http.response.body", "body": b"ab", "more_body": True})
            await send({"type": "http.response.body", "body": b"cd"})


def request(method: bytes = b"GET", headers: bytes = b"") -> bytes:
    return method + b" / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + headers + b"\r\n"


async def test_nothing_is_sent_before_the_body() -> None:
    app = Application()
    async with door(app) as opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write(request())
        await asyncio.wait_for(app.has_begun.wait(), PATIENCE)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)
        app.goes_on.set()
        received = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"\r\n\r\nabcd")


@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
async def test_a_head_alone_is_sent(method: bytes) -> None:
    # Of a response to HEAD, and of one that the application does not complete.
    app = Application(body=method == b"HEAD")
    app.goes_on.set()
    async with door(app) as opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write(request(method))
        received = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"\r\n\r\n")


async def test_the_invitation_to_send_a_body_is_not_held_back() -> None:
    app = Application(reads=True)
    async with door(app) as opened:
        reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
        writer.write(request(b"POST", b"Expect: 100-continue\r\nContent-Length: 1\r\n"))
        received = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        assert received == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"x")
        app.goes_on.set()
        received = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
    assert received.endswith(b"\r\n\r\nabcd")


class Marker:
    """A value in the scope of a request, which is freed with it."""


@pytest.mark.parametrize("body", [True, False])
async def test_a_response_leaves_no_garbage(body: bool) -> None:
    references: list[weakref.ref[Marker]] = []
    is_freed = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        marker = scope["marker"] = Marker()
        references.append(weakref.ref(marker, lambda _: is_freed.set()))
        await send({"type": "http.response.start", "status": 200, "headers": [LENGTH]})
        if body:
            await send({"type": "http.response.body", "body": b"abcd"})

    gc.collect()
    gc.disable()
    try:
        async with door(app) as opened:
            reader, writer = await asyncio.open_connection("127.0.0.1", opened.port)
            writer.write(request())
            await asyncio.wait_for(reader.read(), PATIENCE)
            writer.close()
            await asyncio.wait_for(is_freed.wait(), PATIENCE)
    finally:
        gc.enable()
