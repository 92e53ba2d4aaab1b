"""How uvicorn is set up."""

import socket
from secrets import token_hex
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from backend.core.errors import BadRequestError, problem_response
from backend.core.middleware.requests import CSP, NO_STORE, standing_headers

log = structlog.get_logger("requests")


class Protocol(HttpToolsProtocol):
    """HTTP whose own refusals are told like all others."""

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, so that no application ever sees it, and hang up."""
        request_id = token_hex(16)
        told = problem_response({"path": "/", "request_id": request_id}, BadRequestError())
        headers = [
            *self.server_state.default_headers,
            *told.raw_headers,
            *standing_headers(hsts=self.config.loaded_app.state.context.settings.hsts),
            CSP,
            NO_STORE,
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        lines = [b"HTTP/1.1 400 Bad Request", *(b": ".join(header) for header in headers)]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(told.body)]))
        self.transport.close()
        log.info("request", route=None, status=400, request_id=request_id)


def make_config(app: Any, *, patience: int, **options: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Protocol,
        # Set up by backend.core.logging; the application writes a line per request itself.
        log_config=None,
        access_log=False,
        server_header=False,
        # Whose X-Forwarded-For is believed is the application's decision.
        proxy_headers=False,
        ws="none",
        # Longer than load balancers keep connections, or they reuse one that is just closing.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=patience,
        **options,
    )


class Server(uvicorn.Server):
    """Lets go of everything also for somebody who presses Ctrl-C twice."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:
            await self.lifespan.shutdown()
