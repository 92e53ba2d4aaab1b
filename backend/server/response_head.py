"""The head of a response and the first part of its body, in one write."""

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

# uvicorn writes this before the response if the client waits with its body.
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class JoinedWrites:
    """The transport of one response: holds the head back until the first part of the body.

    uvicorn writes the two separately, which takes two system calls and wakes the client twice: a
    twentieth of the time of a short request. ASGI demands that no response begins before its body.
    """

    # No reference to the cycle that owns it: only garbage collection would free the request.
    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        # None before the head and empty after it.
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        if self._head is None and data != _CONTINUE:
            self._head = data
            return
        if self._head:
            data, self._head = self._head + data, b""
        self._transport.write(data)

    def close(self) -> None:
        if self._head:
            # The application ended the response before its body.
            self.write(b"")
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


def join_writes(cycle: RequestResponseCycle) -> None:
    """Let the response be written with `JoinedWrites`. One to HEAD has no body to wait for."""
    if cycle.scope["method"] != "HEAD":
        # uvicorn calls these three methods of the transport.
        cycle.transport = cast(asyncio.Transport, JoinedWrites(cycle.transport))
