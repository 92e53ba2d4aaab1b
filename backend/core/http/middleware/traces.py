"""The span of every request; part of the application only where traces are exported."""

from collections.abc import Callable
from http import HTTPStatus

from opentelemetry.trace import SpanKind
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.telemetry.spans import METHODS, request_name
from backend.telemetry.tracing import Tracing, trace_headers_of


class TracesMiddleware:
    """The outermost middleware, so that all log lines of a request have its trace.

    The span is a child of the client's if the request names one, and ends with the response.
    Its name is the route. Health checks, whose paths `is_probe` recognises as clients send them,
    have none.
    """

    def __init__(
        self,
        app: ASGIApp,
        tracing: Tracing,
        is_probe: Callable[[str], bool],
    ) -> None:
        self.app = app
        self.tracing = tracing
        self.is_probe = is_probe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.is_probe(scope["path"]):
            await self.app(scope, receive, send)
            return
        method = scope["method"]
        attributes = {
            "http.request.method": method if method in METHODS else "_OTHER",
            "url.scheme": scope["scheme"],
        }
        parent = trace_headers_of(scope["headers"])
        name = request_name(method, None)
        span = self.tracing.start(name, SpanKind.SERVER, parent, attributes)
        # Until the response begins; a client may leave before.
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        finally:
            route = scope.get("path_template")
            span.rename(request_name(method, route))
            if route is not None:
                span.set("http.route", route)
            if status:
                span.set("http.response.status_code", status)
            span.set("trellis.request_id", scope["request_id"])
            span.finish(str(status) if status >= HTTPStatus.INTERNAL_SERVER_ERROR else None)
