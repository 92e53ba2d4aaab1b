"""Trailing slashes, and HEAD for every GET route."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.core.errors import NotFoundError
from backend.core.problems import problem_response


class NormalizePathMiddleware:
    """Removes trailing slashes from paths, and processes HEAD as GET up to the first byte.

    A redirect would take a round trip, and its host would come from the client's Host header.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path: str = scope["path"]
        if path.endswith("/") and path != "/":
            scope["original_path"] = path
            scope["path"] = path.rstrip("/") or "/"
        if scope["path"].endswith("\n"):
            # The pattern of a route ends with `$`, which also matches before a newline.
            await problem_response(scope, NotFoundError())(scope, receive, send)
            return
        if scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

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
