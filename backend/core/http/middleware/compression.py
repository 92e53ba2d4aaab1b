"""Compression of responses, for clients without a proxy in between that compresses."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette_compress import CompressMiddleware, add_compress_type

from backend.core.preconditions import CODINGS, IF_NONE_MATCH, coded_tag

MIN_BYTES = 1024
# A larger body is compressed in parts, between which other requests proceed.
PART_BYTES = 64 * 1024
# A compressed secret beside text of an attacker can be guessed by the length of the response
# (BREACH). A range is one of the bytes as they are stored.
_KEEP_PLAIN = frozenset({b"set-cookie", b"x-csrf-token", b"accept-ranges"})
_PLAIN = "send_without_compression"

# Those of exports; JSON, HTML and text are known already. `streaming`: each part is sent when it is
# produced, instead of when a block of the compression is full.
for _media_type in ("text/csv", "application/x-ndjson"):
    add_compress_type(_media_type, streaming=True)


class CompressionMiddleware:
    """Compresses responses with zstd, br or gzip, whichever of them the client accepts first.

    Responses of the endpoints that `carries_secrets` accepts are not compressed, nor are those that
    set cookies. The entity tag of a compressed response names the coding, so it stays a strong one.
    """

    def __init__(self, app: ASGIApp, carries_secrets: Callable[[object], bool]) -> None:
        self.app = app
        self.carries_secrets = carries_secrets
        self.compress = CompressMiddleware(self._respond, minimum_size=MIN_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                _name_coding(scope, message)
            await send(message)

        scope[_PLAIN] = send
        await self.compress(scope, receive, send_tagged)

    async def _respond(self, scope: Scope, receive: Receive, send_compressed: Send) -> None:
        chosen = send_compressed

        async def send(message: Message) -> None:
            nonlocal chosen
            if message["type"] == "http.response.start" and self._stays_plain(scope, message):
                chosen = scope[_PLAIN]
            if chosen is send_compressed:
                await _send_in_parts(message, chosen)
            else:
                await chosen(message)

        await self.app(scope, receive, send)

    def _stays_plain(self, scope: Scope, message: Message) -> bool:
        headers = [*message["headers"], *scope["response_headers"]]
        names = {name.lower() for name, _ in headers}
        return not names.isdisjoint(_KEEP_PLAIN) or self.carries_secrets(scope.get("endpoint"))


async def _send_in_parts(message: Message, send: Send) -> None:
    body: bytes = message.get("body", b"")
    if len(body) <= PART_BYTES:
        await send(message)
        return
    last = range(0, len(body), PART_BYTES)[-1]
    for start in range(0, len(body), PART_BYTES):
        more_body = start < last or message.get("more_body", False)
        part = body[start : start + PART_BYTES]
        await send({"type": "http.response.body", "body": part, "more_body": more_body})
        await asyncio.sleep(0)


def _name_coding(scope: Scope, start: Message) -> None:
    """Add the coding to the tag of a compressed response; repeat the tag that a 304 confirms."""
    headers = dict(start["headers"])
    tag, coding = headers.get(b"etag"), headers.get(b"content-encoding")
    if tag is None:
        return
    if start["status"] == HTTPStatus.NOT_MODIFIED:
        sent = b",".join(value for name, value in scope["headers"] if name == IF_NONE_MATCH)
        forms = (coded_tag(tag, each) for each in CODINGS)
        named = tag if tag in sent else next((form for form in forms if form in sent), tag)
        start["headers"] = [*start["headers"], (b"vary", b"Accept-Encoding")]
    else:
        named = tag if coding is None else coded_tag(tag, coding)
    if named is not tag:
        start["headers"] = [
            (name, named if name == b"etag" else value) for name, value in start["headers"]
        ]
