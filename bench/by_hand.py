"""Parsing of requests and sending of responses for the floor, without a framework."""

import json
from typing import Any, NamedTuple

import orjson
from starlette.types import Receive, Send

MAX_BODY_BYTES = 1024 * 1024


class Refused(Exception):
    """A request rejected with this status."""

    def __init__(self, status: int) -> None:
        self.status = status


class Response(NamedTuple):
    body: bytes
    status: int = 200
    header: tuple[bytes, bytes] | None = None


async def respond(send: Send, response: Response) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(response.body)).encode()),
    ]
    if response.header:
        headers.append(response.header)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


async def read_body(receive: Receive) -> Any:
    received = b""
    more = True
    while more:
        message = await receive()
        received += message.get("body", b"")
        more = message.get("more_body", False)
        if len(received) > MAX_BODY_BYTES:
            raise Refused(413)
    try:
        return json.loads(received)
    except ValueError:
        raise Refused(400) from None


def checked_item(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value.keys() <= {"title", "description"}:
        raise Refused(422)
    title, description = value.get("title"), value.get("description")
    if not isinstance(title, str) or not 1 <= len(title.strip()) <= 255:
        raise Refused(422)
    if description is not None and not (isinstance(description, str) and len(description) < 10_001):
        raise Refused(422)
    return {"title": title.strip(), "description": description}


def to_json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)
