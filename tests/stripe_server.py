"""A server that behaves like the part of Stripe's API that is used, with faults on demand."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl

from tests.mail_servers import scripted_server

KEY = "sk_test_an_unmistakable_key"
WEBHOOK_SECRET = "whsec_an_unmistakable_secret"
# Status, headers and, if it matters, type of error of a response, or what happens to the
# connection: `reset` before the request is processed, `half` in the response to a processed
# request, `silent` for ever.
Fault = (
    tuple[int, Mapping[str, str]]
    | tuple[int, Mapping[str, str], str]
    | Literal["reset", "half", "silent"]
)


@dataclass
class Request:
    """A received request. Names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class StripeServer:
    """The payments, the requests received, and the faults of the next requests."""

    url: str = ""
    payments: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    _replies: dict[str, tuple[bytes, dict[str, Any]]] = field(default_factory=dict)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _read(reader)
        self.requests.append(request)
        match self.faults.pop(0) if self.faults else None:
            case "reset":
                writer.transport.abort()
                return
            case "silent":
                await asyncio.Event().wait()
            case "half":
                whole = _response(*self._respond(request))
                writer.write(whole[: len(whole) - 20])
            case None:
                writer.write(_response(*self._respond(request)))
            case (status, headers, *kinds):
                problem = _problem(*(kinds or ["api_error"]), message=f"Not with {KEY}.")
                writer.write(_response(status, problem, headers))
        await writer.drain()

    def _respond(self, request: Request) -> tuple[int, dict[str, Any]]:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return 401, _problem("invalid_request_error")
        match request.method, request.path.split("/")[1:]:
            case "POST", ["v1", "payment_intents"]:
                return self._create(request)
            case "GET", ["v1", "payment_intents", str(name)] if name in self.payments:
                return 200, self.payments[name]
        return 404, _problem("invalid_request_error", code="resource_missing")

    def _create(self, request: Request) -> tuple[int, dict[str, Any]]:
        key = request.headers.get("idempotency-key", f"none-{len(self.requests)}")
        if key in self._replies:
            body, payment = self._replies[key]
            return (200, payment) if body == request.body else (400, _problem("idempotency_error"))
        form = dict(parse_qsl(request.body.decode(), strict_parsing=True))
        amount = int(form["amount"])
        if amount < 50:
            return 400, _problem("invalid_request_error", code="amount_too_small")
        if form["currency"] == "xxx":
            declined = _problem("card_error", code="card_declined", decline_code="lost_card")
            return 402, declined
        payment = {
            "id": f"pi_{len(self.payments) + 1}",
            "object": "payment_intent",
            "amount": amount,
            "currency": form["currency"],
            "status": "requires_payment_method",
            "client_secret": f"pi_{len(self.payments) + 1}_secret",
            "metadata": {
                name[9:-1]: value for name, value in form.items() if name.startswith("metadata[")
            },
        }
        self.payments[str(payment["id"])] = payment
        self._replies[key] = request.body, payment
        return 200, payment


def event_about(payment: Mapping[str, Any], id: str = "evt_1") -> bytes:
    """Return the body of a webhook request."""
    event = {
        "id": id,
        "object": "event",
        "type": f"payment_intent.{payment['status']}",
        "created": 1_700_000_000,
        "data": {"object": payment},
    }
    return json.dumps(event).encode()


def signature_of(body: bytes, at: float, *secrets: str) -> str:
    """Return the header `Stripe-Signature` of a webhook request that is sent at this time."""
    signed = f"{at:.0f}.".encode() + body
    digests = (
        hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        for secret in secrets or [WEBHOOK_SECRET]
    )
    return ",".join([f"t={at:.0f}", *(f"v1={digest}" for digest in digests), "v0=6ffb"])


@asynccontextmanager
async def stripe_server() -> AsyncIterator[StripeServer]:
    """Run the server on a free port during the block."""
    server = StripeServer()
    async with scripted_server(server.handle) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server


async def _read(reader: asyncio.StreamReader) -> Request:
    line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    method, path, _ = line.split(" ")
    pairs = (each.split(": ", 1) for each in lines)
    headers = {name.lower(): value for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


def _problem(kind: str, **more: str) -> dict[str, Any]:
    return {"error": {"type": kind, **more}}


def _response(status: int, content: dict[str, Any], headers: Mapping[str, str] = {}) -> bytes:
    body = json.dumps(content).encode()
    lines = [
        f"HTTP/1.1 {status} Status",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
