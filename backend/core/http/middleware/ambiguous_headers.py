"""Rejection of requests with ambiguous headers."""

import re
from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send

from backend.core.errors import AppError, BadRequestError, InvalidTokenError
from backend.core.problems import problem_response

# Proxies and servers differ in which of two lines they use.
_SINGLE = (b"host", b"content-type", b"content-length")
# host [ ":" port ] (RFC 9110, 7.2), without the user info that some parsers accept.
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{0,5}))?")
_MAX_PORT = 65535


class AmbiguousHeadersMiddleware:
    """Responds 400 to an ambiguous or missing header, and 401 to two `Authorization` lines.

    Cookies with a backslash are removed: RFC 6265 does not allow them, and the standard library
    decodes their escapes in quadratic time (CVE-2024-7592), which would block all other requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and (refused := _refusal(scope)) is not None:
            return problem_response(scope, refused)(scope, receive, send)
        return self.app(scope, receive, send)


def _refusal(scope: Scope) -> AppError | None:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    lines = dict(headers)
    names = [name for name, _ in headers] if len(lines) < len(headers) else []
    if names and any(names.count(name) > 1 for name in _SINGLE):
        return BadRequestError()
    if b"cookie" in lines and any(map(_has_escapes, headers)):
        scope["headers"] = [
            (name, _without_escapes(value) if name == b"cookie" else value)
            for name, value in headers
        ]
    if b"host" in lines:
        if not _is_host(lines[b"host"]):
            return BadRequestError()
    elif scope["http_version"] != "1.0":
        return BadRequestError()
    if b"transfer-encoding" in lines and not _is_chunked(scope, headers):
        return BadRequestError()
    return InvalidTokenError() if names.count(b"authorization") > 1 else None


def _has_escapes(header: tuple[bytes, bytes]) -> bool:
    return header[0] == b"cookie" and b"\\" in header[1]


def _without_escapes(cookies: bytes) -> bytes:
    return b";".join(cookie for cookie in cookies.split(b";") if b"\\" not in cookie)


def _is_host(value: bytes) -> bool:
    match = _HOST.fullmatch(value)
    return match is not None and int(match["port"] or 0) <= _MAX_PORT


def _is_chunked(scope: Scope, headers: list[tuple[bytes, bytes]]) -> bool:
    """Return whether `chunked` is the only coding; HTTP/1.0 has no codings (RFC 9112, 6.1)."""
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    return codings == [b"chunked"] and scope["http_version"] != "1.0"
