"""The request id, security headers and log line of every request."""

import math
import re
import time
from collections.abc import Collection
from http import HTTPStatus
from secrets import token_hex
from typing import TYPE_CHECKING

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.core.client_info import client_address, current_scope, header_lines

if TYPE_CHECKING:
    from backend.core.http.proxy_watch import ProxyWatch
    from backend.telemetry.metrics import Metrics

_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
CSP = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
# Responses without caching headers of their own are private or current.
NO_STORE = (b"cache-control", b"no-store")
_CACHEABLE = frozenset({b"cache-control", b"etag"})
# The slash at the beginning of a path; two slashes begin a host.
_REFERENCES = {b"location": re.compile(rb"^/(?!/)"), b"link": re.compile(rb"(?<=<)/(?!/)")}
# Health checks arrive each second or so: of those with equal results, one in this time is logged.
PROBE_LOG_SECONDS = 60.0
_HSTS = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


def standing_headers(*, hsts: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers set on every response."""
    return [*_HEADERS, _HSTS] if hsts else _HEADERS


def _below(prefix: str, header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """Return the header with `prefix` added to the path in `Location` or `Link`."""
    name, value = header
    pattern = _REFERENCES.get(name.lower())
    return header if pattern is None else (name, pattern.sub(prefix.encode() + b"/", value))


class RequestContextMiddleware:
    """The outermost middleware.

    `probes` are the routes of health checks: their successes are logged once a minute, their
    failures always. `watch` examines a request in a while.
    """

    def __init__(
        self,
        app: ASGIApp,
        hsts: bool,
        probes: Collection[str] = (),
        metrics: "Metrics | None" = None,
        watch: "ProxyWatch | None" = None,
    ) -> None:
        self.app = app
        self.watch = watch
        self.metrics = metrics
        self.probes_logged_at = dict.fromkeys(probes, -math.inf)
        self.headers = standing_headers(hsts=hsts)
        # Bound once; a logger of the module is looked up for each line.
        self.log = structlog.get_logger("requests").bind()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        if self.watch is not None and started >= self.watch.due:
            self.watch.examine(scope, started)
        sent = header_lines(scope, b"x-request-id")
        request_id = sent[0].decode() if sent and _SAFE_ID.fullmatch(sent[0]) else token_hex(16)
        scope["request_id"] = request_id
        # Headers that inner layers add to any response; copies of the scope share this list.
        added: list[tuple[bytes, bytes]] = []
        scope["response_headers"] = added
        current_scope.set(scope)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 0
        if self.metrics is not None:
            self.metrics.requests_under_way += 1

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message["headers"])
                headers += added
                if scope.get("prefix"):
                    headers = [_below(scope["prefix"], header) for header in headers]
                headers += self.headers
                headers.append((b"x-request-id", request_id.encode()))
                present = dict(headers)
                if b"content-security-policy" not in present:
                    headers.append(CSP)
                if _CACHEABLE.isdisjoint(present):
                    headers.append(NO_STORE)
                message["headers"] = headers
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("path_template")
        if self.metrics is not None:
            self.metrics.requests_under_way -= 1
            self.metrics.request(scope["method"], route, status, seconds)
        if route in self.probes_logged_at and self._is_repeated(route, status):
            return
        principal = scope.get("principal")
        self.log.info(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            duration_ms=round(seconds * 1000, 2),
            client=client_address(scope),
            user_id=str(principal.user_id) if principal else None,
        )

    def _is_repeated(self, probe: str, status: int) -> bool:
        """Return whether a successful health check was logged in the last minute."""
        now = time.monotonic()
        if status != HTTPStatus.OK or now - self.probes_logged_at[probe] >= PROBE_LOG_SECONDS:
            # After a failure, the next success is logged.
            self.probes_logged_at[probe] = now if status == HTTPStatus.OK else -math.inf
            return False
        return True
