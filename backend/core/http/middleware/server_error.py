"""The handler of last resort."""

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.core.errors import InternalError, problem_response

log = structlog.get_logger()


class ServerErrorMiddleware:
    """Logs what nobody handled and answers 500.

    Inside the CORS layer: Starlette's own handler is outside of it, and a browser cannot read an
    error without CORS headers.
    """

    def __init__(self, app: ASGIApp, tells_details: bool) -> None:
        self.app = app
        self.tells_details = tells_details

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        except Exception as error:
            log.exception("unhandled_error", request_id=scope.get("request_id"))
            if started:
                # The status is out; breaking the connection is all that is left to say.
                raise
            detail = f"{type(error).__name__}: {error}" if self.tells_details else None
            response = problem_response(scope, InternalError(), detail=detail)
            await response(scope, receive, send)
