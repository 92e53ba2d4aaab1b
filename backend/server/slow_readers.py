"""The sending half of a connection, with bounds on the responses that clients do not read."""

import asyncio
import socket
import struct
from typing import Any

import structlog
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from backend.server.bounds import Bounds
from backend.server.response_head import join_writes

log = structlog.get_logger("requests")
# The number of checks of a client within the time in which it must read something.
CHECKS = 6
# Added to `write_seconds`, so that this protocol's own timeout comes first and is logged.
KERNEL_SECONDS = 5
# Close immediately and discard unsent bytes.
_RESET = struct.pack("ii", 1, 0)


class SlowReaderProtocol(HttpToolsProtocol):
    """A protocol that closes connections whose client does not read. Other clients need no timer.

    uvicorn writes a whole response to the transport, whether or not the client reads it.
    """

    def __init__(self, *arguments: Any, bounds: Bounds, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.bounds = bounds
        self.given_up = False
        # The bytes that the client has not read, and when they last decreased.
        self.unread_bytes = 0
        self._read_at = 0.0
        # The bytes that the client had not read when writing was paused, and that time.
        self._paused_bytes = 0
        self._paused_at = 0.0
        self._reader_timer: asyncio.TimerHandle | None = None
        # A request that waits until the client reads the response before it.
        self._held: tuple[RequestResponseCycle, ASGI3Application] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        _bound_kernel(transport, self.bounds)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._held = None
        self._stop_checking()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.unread_bytes = self._paused_bytes = self.transport.get_write_buffer_size()
        self._read_at = self._paused_at = self.loop.time()
        self._check_later()
        self._make_space()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_checking()
        if self._held is not None and not self.transport.is_closing():
            (cycle, app), self._held = self._held, None
            super()._start_asgi_task(cycle, app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        join_writes(cycle)
        if self.flow.write_paused:
            # Its response would be buffered behind the unread one.
            self._held = cycle, app
        else:
            super()._start_asgi_task(cycle, app)

    def stalled_since(self) -> float:
        """Return the loop's time of the last known read; call it while writing is paused."""
        size = self.transport.get_write_buffer_size()
        if size < self.unread_bytes:
            self._read_at = self.loop.time()
        self.unread_bytes = size
        return self._read_at

    def _progress(self) -> tuple[int, float]:
        """Return the bytes read since writing was paused, and the seconds since."""
        self.stalled_since()
        # Bytes written while writing is paused are unread as well.
        self._paused_bytes = max(self._paused_bytes, self.unread_bytes)
        return self._paused_bytes - self.unread_bytes, self.loop.time() - self._paused_at

    def speed(self) -> float:
        """Return the bytes that the client reads per second; call it while writing is paused.

        A second at `new_rate` is added, so that a new client is not the slowest.
        """
        read, seconds = self._progress()
        return (read + self.bounds.new_rate) / (seconds + 1)

    def _seconds_left(self) -> float:
        """Return the seconds in which the client must read a byte; 0 if its average is too slow."""
        read, seconds = self._progress()
        if (seconds - self.bounds.slow_seconds) * self.bounds.slow_rate > read:
            return 0
        return self._read_at + self.bounds.write_seconds - self.loop.time()

    def _check_later(self) -> None:
        self._stop_checking()
        seconds = min(self._seconds_left(), self.bounds.write_seconds / CHECKS)
        self._reader_timer = self.loop.call_later(seconds, self._check_reader)

    def _stop_checking(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
        self._reader_timer = None

    def _check_reader(self) -> None:
        if self._seconds_left() > 0.001:
            self._check_later()
        else:
            self.give_up()

    def _make_space(self) -> None:
        """Close the connections of the slowest readers while there are too many unread bytes.

        The time of the last read does not identify them: a few bytes now and then keep it recent.
        """
        others = [
            each
            for each in self.connections
            if isinstance(each, SlowReaderProtocol) and each.flow.write_paused
            if not each.given_up and each is not self
        ]
        sizes = (each.transport.get_write_buffer_size() for each in (self, *others))
        excess = sum(sizes) - self.bounds.unread_bytes
        if excess <= 0:
            return
        for each in sorted(others, key=SlowReaderProtocol.speed):
            excess -= each.unread_bytes
            each.give_up()
            if excess <= 0:
                return

    def give_up(self) -> None:
        self.given_up = True
        self._stop_checking()
        log.info("answer_not_read", unread_bytes=self.unread_bytes)
        # Otherwise the kernel keeps sending its buffer, and the client does not get a reset.
        opened = self.transport.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()


def _bound_kernel(transport: asyncio.Transport, bounds: Bounds) -> None:
    """Limit the bytes that the kernel buffers, and the time in which it delivers none of them.

    The kernel would buffer 4 MiB, which the transport does not know. The timeout covers responses
    that fit into its buffer, which are no longer in the transport.
    """
    opened = transport.get_extra_info("socket")
    if opened is None or opened.family not in (socket.AF_INET, socket.AF_INET6):
        return
    milliseconds = round((bounds.write_seconds + KERNEL_SECONDS) * 1000)
    # Not every system has both.
    for name, value in (
        ("TCP_NOTSENT_LOWAT", bounds.unsent_bytes),
        ("TCP_USER_TIMEOUT", milliseconds),
    ):
        if option := getattr(socket, name, None):
            opened.setsockopt(socket.IPPROTO_TCP, option, value)
