"""Refuses host names this server was not meant for."""

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from backend.core.errors import InvalidHostError, problem_response


class HostsMiddleware:
    """400 for an unknown Host. Health is exempt: probes call by address."""

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self.app = app
        self.allowed = {host.lower() for host in allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not f"{scope['path']}/".startswith("/health/"):
            host = next((value for name, value in scope["headers"] if name == b"host"), b"")
            if _name(host.decode("latin-1")) not in self.allowed:
                await problem_response(scope, InvalidHostError())(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _name(host: str) -> str:
    """The name in `name:port`, `[address]:port` or `name`."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()
