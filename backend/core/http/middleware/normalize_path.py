"""Trailing slashes, and HEAD for every GET route."""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.core.errors import NotFoundError
from backend.core.problems import problem_response


class NormalizePathMiddleware:
    """Removes trailing slashes from paths, and processes HEAD as GET up to the first byte.

    A redirect would take a round trip, and its host would come from the client's Host header.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        path: str = scope["path"]
        if path.endswith("/") and path != "/":
            scope["original_path"] = path
            scope["path"] = path.rstrip("/") or "/"
        if scope["path"].endswith("\n"):
            # The pattern of a route ends with `$`, which also matches before a newline.
            return problem_response(scope, NotFoundError())(scope, receive, send)
        if scope["method"] == "HEAD":
            return self._respond_to_head(scope, receive, send)
        return self.app(scope, receive, send)

    async def _respond_to_head(self, scope: Scope, receive: Receive, send: Send) -> None:
        ended = False

        async def send_head(message: Message) -> None:
            nonlocal ended
            if ended:
                return
            if message["type"] == "http.response.body":
                # Then a stream receives the disconnect and stops.
                ended = True
                message = {**message, "body": b"", "more_body": False}
            await send(message)

        # A copy, because the server must see HEAD; otherwise it would expect a body.
        as_get = {**scope, "method": "GET", "is_head": True}
        try:
            await self.app(as_get, receive, send_head)
        finally:
            scope["endpoint"] = as_get.get("endpoint")
            scope["path_template"] = as_get.get("path_template")
            scope["principal"] = as_get.get("principal")
