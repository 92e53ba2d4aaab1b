"""The server that responds 503 with the reason while the API does not start."""

import html
import socket
import threading
from collections.abc import Sequence
from typing import Self

import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.core.errors import ServiceUnavailableError
from backend.core.http.middleware.cors import CORSMiddleware
from backend.core.http.middleware.request_context import RequestContextMiddleware
from backend.core.problems import problem_response
from backend.core.settings import Settings

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>The API does not start</title></head>
<body><h1>The API does not start</h1><pre>{reason}</pre>
<p>It starts again when its code changes; then load this page again.</p></body>
</html>
"""


class UnavailableServer:
    """Responds 503 on the sockets of the API, in a thread of this process.

    A new process would import the code of the API, which may be broken anywhere.
    """

    def __init__(self, sockets: Sequence[socket.socket], settings: Settings) -> None:
        self._sockets = sockets
        self._settings = settings
        self._running: tuple[uvicorn.Server, threading.Thread] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, reason: str) -> None:
        self.stop()
        config = uvicorn.Config(
            application(reason, self._settings),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        # The server closes its sockets, so it gets copies.
        copies = [each.dup() for each in self._sockets]
        thread = threading.Thread(target=server.run, args=(copies,), daemon=True)
        thread.start()
        self._running = server, thread

    def stop(self) -> None:
        if self._running is not None:
            server, thread = self._running
            server.should_exit = True
            thread.join()
            self._running = None


def application(reason: str, settings: Settings) -> ASGIApp:
    """Create an application that responds 503 with the reason, as a page if HTML is accepted."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        error = ServiceUnavailableError()
        accepted = b",".join(value for name, value in scope["headers"] if name == b"accept")
        if b"text/html" in accepted:
            page = PAGE.format(reason=html.escape(reason))
            response = Response(page, error.status, error.headers, "text/html")
        else:
            response = problem_response(scope, error, detail=reason)
        # The next request must open a new connection, which the API may accept.
        response.headers["Connection"] = "close"
        await response(scope, receive, send)

    cors = CORSMiddleware(answer, allows=settings.allows_origin)
    return RequestContextMiddleware(cors, hsts=False)
