"""Rejection of requests for unknown host names."""

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from backend.addresses.host_names import host_of
from backend.core.errors import InvalidHostError
from backend.core.problems import problem_response


class TrustedHostMiddleware:
    """Responds 400 unless `admits` accepts the host, or `is_probe` the path of a probe."""

    def __init__(
        self, app: ASGIApp, admits: Callable[[str], bool], is_probe: Callable[[str], bool]
    ) -> None:
        self.app = app
        self.admits = admits
        self.is_probe = is_probe

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and not self.is_probe(scope["path"]):
            host = next((value for name, value in scope["headers"] if name == b"host"), b"")
            if not self.admits(host_of(host.decode("latin-1"))):
                return problem_response(scope, InvalidHostError())(scope, receive, send)
        return self.app(scope, receive, send)
