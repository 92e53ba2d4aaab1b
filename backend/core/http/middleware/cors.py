"""Cross-origin requests of browsers (Fetch standard) from allowed origins.

Starlette's own middleware responds to denied preflights in plain text, sends some of the headers to
denied origins, and none with errors of the outermost layer.
"""

from collections.abc import Awaitable, Callable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
READABLE = (
    "X-Request-ID, ETag, Location, Link, Retry-After, RateLimit, RateLimit-Policy, "
    "Idempotency-Replayed, WWW-Authenticate, Content-Disposition, X-CSRF-Token"
)
ACCEPTED = (
    "Authorization, Content-Type, X-CSRF-Token, If-Match, If-None-Match, Idempotency-Key, "
    "X-Request-ID, traceparent, tracestate"
)
PREFLIGHT_SECONDS = "600"


class CORSMiddleware:
    """Adds CORS headers for allowed origins, and responds to preflights without a route.

    `allows` decides on the value of `Origin`; None allows no origin. `also_readable` are names of
    headers that scripts may read beside the usual ones.
    """

    def __init__(
        self,
        app: ASGIApp,
        allows: Callable[[str], bool] | None,
        also_readable: Sequence[str] = (),
    ) -> None:
        self.app = app
        self.allows = allows
        self.readable = ", ".join([READABLE, *also_readable])

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        if self.allows is None and scope["method"] != "OPTIONS":
            # Responses do not depend on the origin, so they need no Vary header.
            return self.app(scope, receive, send)
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        allowed = origin is not None and self.allows is not None and self.allows(origin)
        if scope["method"] == "OPTIONS" and origin and "access-control-request-method" in headers:
            response = Response(status_code=204, headers={"Vary": "Origin"})
            if allowed:
                response.headers.update(
                    {
                        "Access-Control-Allow-Origin": origin,
                        "Access-Control-Allow-Credentials": "true",
                        "Access-Control-Allow-Methods": METHODS,
                        "Access-Control-Allow-Headers": ACCEPTED,
                        "Access-Control-Max-Age": PREFLIGHT_SECONDS,
                    }
                )
            return response(scope, receive, send)
        if self.allows is None:
            return self.app(scope, receive, send)

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                response_headers = MutableHeaders(scope=message)
                response_headers.add_vary_header("Origin")
                if allowed:
                    response_headers["Access-Control-Allow-Origin"] = origin or ""
                    response_headers["Access-Control-Allow-Credentials"] = "true"
                    response_headers["Access-Control-Expose-Headers"] = self.readable
            await send(message)

        return self.app(scope, receive, send_with_cors)
