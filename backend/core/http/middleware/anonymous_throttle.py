"""Keeps floods of what needs no credentials from holding up everything else."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from backend.core.client_info import client_address
from backend.core.errors import problem_response
from backend.core.lanes import Lane
from backend.core.limits import RateLimitedError, address_key


class AnonymousThrottleMiddleware:
    """Lets requests to some paths go on one by one, and turns away whose address is refused there.

    `endpoints`, by path (without parameters), are those that look at no credentials: there an
    address's refusal needs no route, no body and no database to be said again.
    """

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, object]) -> None:
        self.app = app
        self.endpoints = endpoints
        self.lane = Lane()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in self.endpoints:
            await self.app(scope, receive, send)
            return
        limits = scope["app"].state.context.limits
        if scope["method"] != "POST" or limits is None:
            await self.app(scope, receive, send)
            return
        await self.lane.turn()
        caller = scope["path"], address_key(client_address(scope))
        refused = limits.refused.find(caller)
        if refused is None:
            scope["anonymous"] = caller
            await self.app(scope, receive, send)
            return
        # For the log.
        scope["endpoint"] = self.endpoints[scope["path"]]
        await problem_response(scope, RateLimitedError(refused))(scope, receive, send)
