"""The measured endpoints and their targets."""

import json
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
        lines = [
            f"{self.method} {prefix}{self.path} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "User-Agent: bench",
            "Accept: */*",
        ]
        if client:
            lines.append(f"X-Forwarded-For: {client}")
        if self.signed_in:
            lines.append(f"Authorization: Bearer {token}")
        if self.body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*lines, "", self.body])


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
