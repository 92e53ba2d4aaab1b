"""What tests of hostile requests share."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
from starlette.types import ASGIApp, Message

# Part of every hostile value; no answer may repeat it.
CANARY = "canary7f3a"


def assert_refused(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    """The problem document, which has one of the statuses and repeats nothing that was sent."""
    assert answer.status_code in statuses, f"{answer.status_code}: {answer.text[:500]}"
    assert CANARY not in answer.text
    assert not any(CANARY in value for value in answer.headers.values())
    problem: dict[str, Any] = answer.json()
    return problem


@dataclass(frozen=True)
class RawAnswer:
    """An answer, and how many bytes of the body were asked for."""

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
    breaks_off: bool = False,
    host: bool = True,
    version: str = "1.1",
    query: bytes = b"",
) -> RawAnswer:
    """A request as a server would hand it over, whatever its client has sent.

    `chunks` are handed over one by one, as they are asked for; then the body ends, or its client
    `breaks_off`. Without `host`, the only Host header is one among `headers`.
    """
    pending, consumed, sent = iter(chunks), 0, list[Message]()

    async def receive() -> Message:
        nonlocal consumed
        chunk = next(pending, None)
        if chunk is None:
            kind = "http.disconnect" if breaks_off else "http.request"
            return {"type": kind, "body": b"", "more_body": False}
        consumed += len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

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
    return RawAnswer(
        start["status"],
        dict(start["headers"]),
        b"".join(message.get("body", b"") for message in bodies),
        consumed,
    )
