"""Helpers of tests of hostile requests."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
from starlette.types import ASGIApp, Message

# Part of every hostile value; no response may contain it.
CANARY = "canary7f3a"


def assert_refused(response: httpx.Response, *statuses: int) -> dict[str, Any]:
    """Assert the status and that nothing sent is repeated; return the problem document."""
    assert response.status_code in statuses, f"{response.status_code}: {response.text[:500]}"
    assert CANARY not in response.text
    assert not any(CANARY in value for value in response.headers.values())
    problem: dict[str, Any] = response.json()
    return problem


@dataclass(frozen=True)
class RawResponse:
    """A response, and the number of bytes of the request body that were read."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    consumed: int

    def json(self) -> Any:
        return orjson.loads(self.body)


async def raw(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    headers: Iterable[tuple[bytes, bytes]] = (),
    chunks: Iterable[bytes] = (),
    disconnects: bool = False,
    host: bool = True,
    version: str = "1.1",
    query: bytes = b"",
) -> RawResponse:
    """Send a request to the ASGI application, with any bytes that a server would accept.

    The body is sent in `chunks`; then it ends, or the client `disconnects`. Without `host`, only
    `headers` can contain a Host header.
    """
    pending, consumed, sent = iter(chunks), 0, list[Message]()
    ended, answered = False, asyncio.Event()

    async def receive() -> Message:
        nonlocal consumed, ended
        chunk = next(pending, None)
        if chunk is None:
            if ended:  # nothing follows the body until the response is complete
                await answered.wait()
                return {"type": "http.disconnect"}
            ended = True
            kind = "http.disconnect" if disconnects else "http.request"
            return {"type": kind, "body": b"", "more_body": False}
        consumed += len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)
        if not message.get("more_body") and message["type"] == "http.response.body":
            answered.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": version,
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [*([(b"host", b"testserver")] if host else []), *headers],
        "client": ("127.0.0.1", 1234),
        "server": ("testserver", 80),
    }
    await app(scope, receive, send)
    start, *bodies = sent
    return RawResponse(
        start["status"],
        dict(start["headers"]),
        b"".join(message.get("body", b"") for message in bodies),
        consumed,
    )
