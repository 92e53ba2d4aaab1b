"""HTTP/1.1 with bounds on the requests of clients that are not authenticated yet.

uvicorn's own protocol limits neither the size of a header block nor the time in which a request
arrives. There is no timer per request: a timer starts only if a read ends inside a header block or
a body, and each connection has at most one.
"""

import asyncio
import re
from heapq import nsmallest
from secrets import token_hex
from typing import Any

import httptools
import structlog
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
from uvicorn.server import ServerState

from backend.core.errors import (
    AppError,
    BadRequestError,
    HeadersTooLargeError,
    RequestTimeoutError,
    ServiceUnavailableError,
)
from backend.core.http.middleware.request_context import CSP, NO_STORE, standing_headers
from backend.core.problems import problem_response
from backend.server.bounds import Bounds
from backend.server.slow_readers import SlowReaderProtocol

log = structlog.get_logger("requests")

# A target in absolute form (RFC 9112, 3.2.2): authority, then path and query.
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
# Headers of a request that offers another protocol, which a server may ignore.
_UPGRADE_HEADERS = (b"upgrade", b"connection", b"http2-settings")
CLOSE = (b"connection", b"close")


class State(ServerState):
    """State that all connections of a process share. While draining, responses end connections."""

    draining = False


class Protocol(SlowReaderProtocol):
    """One connection. Requests that it refuses get a problem document, as from the application."""

    server_state: State

    def __init__(self, *arguments: Any, bounds: Bounds, **options: Any) -> None:
        super().__init__(*arguments, bounds=bounds, **options)
        self._max_head_bytes, self._max_headers = bounds.head_bytes, bounds.headers
        self._refused = False
        self._fault: AppError | None = None
        # Bytes of the current header block; 0 between requests.
        self._head_bytes = 0
        self._in_body = False
        self._upgrading = False
        self._body_bytes = 0
        self._body_since = 0.0
        self._progressed = False
        # Bytes around the chunks of a body since the last read with a byte of it.
        self._framing_bytes = 0
        # The deadline of the client; 0 while nothing is expected from it.
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        # uvicorn starts this timer after the first response only.
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )
        if len(self.connections) > self.bounds.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # uvicorn keeps the timer after a reset, and with it the memory of the connection.
        self._unset_keepalive_if_required()
        self._set_timer(None)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        rest = b""
        if not self._in_body:
            self._head_bytes += len(data)
            if (beyond := self._head_bytes - self._max_head_bytes) > 0:
                data, rest = data[:-beyond], data[-beyond:]
                self._head_bytes = self._max_head_bytes
        if not self._read(data):
            return
        if rest:
            if self._head_bytes:
                self._refuse(HeadersTooLargeError())
            else:
                self.data_received(rest)
        elif self._in_body or self._head_bytes:
            self._expect_more(len(data))

    def _read(self, data: bytes) -> bool:
        """Parse data; return False if the request was refused."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(self._fault or BadRequestError())
            return False
        except httptools.HttpParserUpgrade as upgrade:
            return self._read_without_upgrade(data[upgrade.args[0] :])
        return True

    # Parser callbacks
    def on_headers_complete(self) -> None:
        if len(self.headers) > self._max_headers:
            self._fault = HeadersTooLargeError()
            # An exception is the only way to stop the parser.
            raise ValueError
        if self.pipeline and len(self.pipeline) >= self.bounds.pipelined:
            raise ValueError
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._upgrading = True
            return
        if self.url[:1] != b"/":
            self._take_absolute_form()
        super().on_headers_complete()
        if self.server_state.draining:
            self._end_after_response()
        # Otherwise trailers are appended to the headers of the current request.
        self.headers = []
        self._head_bytes, self._due = 0, 0.0
        self._in_body = True
        self._body_bytes, self._body_since, self._progressed = 0, 0.0, True

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._progressed = True
        if not self.cycle.response_complete:
            self._due = 0.0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self._in_body, self._due = False, 0.0
        super().on_message_complete()

    def _take_absolute_form(self) -> None:
        """Replace `Host` by the host of an absolute target; raise `ValueError` if it has none."""
        if self.url == b"*":
            return
        found = _ABSOLUTE.fullmatch(self.url)
        if found is None:
            raise ValueError
        authority, path = found.groups()
        self.url = path if path.startswith(b"/") else b"/" + path
        hosts = [index for index, (name, _) in enumerate(self.headers) if name == b"host"]
        for index in hosts:
            self.headers[index] = (b"host", authority)
        if not hosts and self.parser.get_http_version() == "1.0":
            self.headers.append((b"host", authority))

    def _read_without_upgrade(self, rest: bytes) -> bool:
        """Parse a request again without its offer of another protocol.

        The parser treats all bytes after such a header block as the other protocol, so the body
        that Java's client sends would be lost.
        """
        self._upgrading = False
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        kept = [header for header in self.headers if header[0] not in _UPGRADE_HEADERS]
        if any(name == b"connection" and b"close" in value.lower() for name, value in self.headers):
            kept.append(CLOSE)
        lines = [b" ".join((method, self.url, b"HTTP/" + version)), *map(b": ".join, kept)]
        self.parser = httptools.HttpRequestParser(self)
        return self._read(b"\r\n".join([*lines, b"", rest]))

    # Time
    def _expect_more(self, received: int) -> None:
        """Set the deadline after a read that ended inside a header block or a body."""
        now = self.loop.time()
        seconds = self.bounds.head_seconds
        if self._in_body:
            seconds = self.bounds.body_seconds
            self._body_since = self._body_since or now
            self._framing_bytes = 0 if self._progressed else self._framing_bytes + received
            self._progressed = False
            if self._framing_bytes > self.bounds.head_bytes:
                self._refuse(HeadersTooLargeError())
                return
        self._due = self._due or now + seconds
        if self._timer is None or self._timer.when() > self._due:
            self._set_timer(self._due)

    def _set_timer(self, when: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if when is None else self.loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self.loop.time()
        if not self._due or self._refused or self.transport.is_closing():
            return
        if self._in_body and self._is_too_slow(now):
            self._refuse(RequestTimeoutError())
        elif self._due - now > 0.001:
            self._set_timer(self._due)
        elif self._client_is_awaited():
            self._refuse(RequestTimeoutError())
        else:
            seconds = self.bounds.body_seconds if self._in_body else self.bounds.head_seconds
            self._due = now + seconds
            self._set_timer(self._due)

    def _client_is_awaited(self) -> bool:
        """Return whether the server waits for the client, not the client for the application."""
        if self._in_body:
            return not self.flow.read_paused and not self.cycle.waiting_for_100_continue
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _is_too_slow(self, now: float) -> bool:
        seconds = now - self._body_since - self.bounds.slow_seconds
        return seconds > 0 and self._body_bytes < seconds * self.bounds.slow_rate

    # Stopping
    def shutdown(self) -> None:
        """End the connection after the request that is under way or just arriving."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._end_after_response()
            if not self._in_body:
                return
        elif cycle is not None and not self._head_bytes:
            # Idle, and drained before: its last response announced the end.
            self.transport.close()
            return
        self.loop.call_later(self.bounds.stop_seconds, self._stop_waiting)

    def _end_after_response(self) -> None:
        cycle = self.cycle
        cycle.keep_alive = False
        if not cycle.response_started:
            # uvicorn repeats it in the response.
            cycle.scope["headers"] = [*cycle.scope["headers"], CLOSE]

    def _stop_waiting(self) -> None:
        """End a connection whose request has not arrived in time."""
        cycle: RequestResponseCycle | None = self.cycle
        if self._refused or self.transport.is_closing():
            return
        if cycle is None or cycle.response_complete:
            self.transport.close()
        elif self._in_body:
            self._refuse(ServiceUnavailableError())

    def give_up_request(self) -> None:
        """Answer 503 for a request that the server does not finish."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete or cycle.response_started or self._refused:
            self.transport.close()
            return
        self._in_body = True
        self._refuse(ServiceUnavailableError())

    # Number of connections
    def _make_room(self) -> None:
        """Close the connections that wait longest for their client, or refuse this one."""
        latest = self.loop.time() - self.bounds.fresh_seconds
        waiting = [
            (since, id(each), each)
            for each in self.connections
            if isinstance(each, Protocol) and each is not self
            if (since := each.waiting_since()) < latest
        ]
        for *_, longest in nsmallest(self.bounds.closed_at_once, waiting):
            if longest.flow.write_paused:
                longest.give_up()
            else:
                longest.transport.close()
        if waiting:
            return
        if len(self.connections) > self.bounds.connections + self.bounds.spare:
            self.transport.abort()
        else:
            self.app = self._answer_one_too_many

    def waiting_since(self) -> float:
        """Return the time since which the client is expected to act; infinite if it is not."""
        never = float("inf")
        if self.flow.write_paused:
            return self.stalled_since()
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            return never
        if self.timeout_keep_alive_task is not None:
            return self.timeout_keep_alive_task.when() - self.timeout_keep_alive
        if not self._due or not self._client_is_awaited():
            return never
        return self._due - (self.bounds.body_seconds if self._in_body else self.bounds.head_seconds)

    async def _answer_one_too_many(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], CLOSE]
            await send(message)

        context = self.config.loaded_app.state.context
        if context.is_probe(scope["path"].removeprefix(context.settings.root_path)):
            # Probes must not take an overloaded process for a dead one.
            await self.config.loaded_app(scope, receive, send_last)
            return
        status, headers, body = self._problem(ServiceUnavailableError(), scope)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    # Refusals
    def _refuse(self, error: AppError) -> None:
        """Send `error` unless it could be mistaken for another response, and close."""
        self._refused = True
        self._set_timer(None)
        cycle: RequestResponseCycle | None = self.cycle
        scope: Scope = {"path": "/"}
        if cycle is not None and not cycle.response_complete:
            if not self._in_body:
                # The error concerns data after the request that is being answered.
                cycle.keep_alive = False
                return
            if cycle.response_started or self.pipeline:
                self.transport.close()
                return
            scope = dict(cycle.scope)
            # The handler sees a disconnected client.
            cycle.disconnected = True
            cycle.message_event.set()
        elif self._in_body:
            # The request has been answered already.
            self.transport.close()
            return
        status, headers, body = self._problem(error, scope)
        lines = map(b": ".join, [*self.server_state.default_headers, *headers])
        self.transport.write(STATUS_LINE[status] + b"\r\n".join([*lines, b"", body]))
        self._linger()

    def _linger(self) -> None:
        """Close after the client has closed, or after `linger_seconds`.

        A connection that is closed while the client still sends is reset, and the client may lose
        the response.
        """
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(self.bounds.linger_seconds, self.transport.abort)

    def _problem(
        self, error: AppError, scope: Scope
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Return status, headers and body of a response that does not come from the application."""
        settings = self.config.loaded_app.state.context.settings
        request_id = scope.get("request_id")
        if request_id is None:
            request_id = token_hex(16)
            log.info("request", route=None, status=error.status, request_id=request_id)
        else:
            # The application logs the request itself.
            log.info("request_refused", status=error.status, request_id=request_id)
        problem = problem_response(
            {"prefix": settings.root_path, **scope, "request_id": request_id}, error
        )
        standing = standing_headers(hsts=settings.hsts)
        identified = (b"x-request-id", request_id.encode())
        headers = [*problem.raw_headers, *standing, CSP, NO_STORE, identified, CLOSE]
        return error.status, headers, bytes(problem.body)
