"""Protection of all other requests from floods of requests that need no credentials."""

from collections.abc import Awaitable, Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from backend.addresses.ip_addresses import address_key
from backend.core.client_info import client_address
from backend.core.context import Context
from backend.core.http.admission_queue import AdmissionQueue
from backend.core.limits import RateLimitedError, count_refusal
from backend.core.problems import problem_response
from backend.ratelimit.limiter import RateLimiter


class AnonymousThrottleMiddleware:
    """Admits requests to some paths one by one, and answers cached refusals immediately.

    `paths` are those of routes without parameters that ignore credentials. There the cached refusal
    of an address needs no routing, no body and no database.
    """

    def __init__(self, app: ASGIApp, paths: Collection[str]) -> None:
        self.app = app
        self.paths = paths
        self.queue = AdmissionQueue()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or scope["path"] not in self.paths:
            return self.app(scope, receive, send)
        context: Context = scope["app"].state.context
        if scope["method"] != "POST" or context.limits is None:
            return self.app(scope, receive, send)
        return self._throttle(context, context.limits, scope, receive, send)

    async def _throttle(
        self,
        context: Context,
        limits: RateLimiter,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        await self.queue.admission()
        caller = scope["path"], address_key(client_address(scope))
        refused = limits.refused.find(caller)
        if refused is None:
            scope["anonymous"] = caller
            await self.app(scope, receive, send)
            return
        count_refusal(context, refused.rule)
        # For the route in the log line.
        scope["path_template"] = scope["path"]
        await problem_response(scope, RateLimitedError(refused))(scope, receive, send)
