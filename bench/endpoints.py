"""The measured endpoints and their targets."""

import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    """A measured endpoint; `target` is the minimal rate as a share of the floor's rate."""

    name: str
    method: str
    path: str
    body: str = ""
    target: float | None = None
    p99_target: float | None = None
    signed_in: bool = True

    def request(self, port: int, token: str, *, prefix: str = "", client: str = "") -> str:
        """Return the HTTP/1.1 request; `client` is the address sent in X-Forwarded-For."""
        headers = {"X-Forwarded-For": client} if client else {}
        if self.signed_in:
            headers["Authorization"] = f"Bearer {token}"
        if self.body:
            headers["Content-Type"] = "application/json"
        return raw_request(port, self.method, f"{prefix}{self.path}", headers, self.body)


def raw_request(
    port: int, method: str, path: str, headers: Mapping[str, str], body: str = ""
) -> str:
    """Return an HTTP/1.1 request with the headers that every client sends."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "User-Agent: bench",
        "Accept: */*",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    if body:
        lines.append(f"Content-Length: {len(body.encode())}")
    return "\r\n".join([*lines, "", body])


LIST_LIMIT = 20
CREATED_TITLE = "Made under load"
ENDPOINTS = (
    Endpoint("health", "GET", "/health", signed_in=False),
    Endpoint("me", "GET", "/api/v1/users/me", target=0.55, p99_target=30),
    Endpoint("list", "GET", f"/api/v1/items?limit={LIST_LIMIT}", target=0.40),
    Endpoint(
        "create",
        "POST",
        "/api/v1/items",
        json.dumps({"title": CREATED_TITLE, "description": "Of no further use."}),
        target=0.45,
    ),
)
SIGN_IN_TARGET = 0.45
SIGN_IN_CLIENTS = 4
LIMITS_TARGET = 0.85
ME_CLIENTS = 4
FLOOD_CLIENTS = 32
FLOOD_LIMIT = 3.0
BURST = 500
P95_LIMIT = 50.0
MEGABYTES_LIMIT = 130
READY_LIMIT = 3.0
