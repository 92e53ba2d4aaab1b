"""Finds the route of a request by its path.

FastAPI asks all routers, and each route of a router, in turn, and does so twice: with 70 routes,
that takes a tenth of the time of a short request.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette._utils import get_route_path
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.core.http.route_plan import ErrorHandlers, responding
from backend.core.http.routing import Route

# The end of a parameter that contains slashes, such as `{name:path}`.
_PATH = ":path}"


class _Route(NamedTuple):
    # First, so that routes sort as the application orders them.
    order: int
    methods: Collection[str]
    match: Callable[[str], Any]
    convertors: Mapping[str, Any]
    endpoint: Any
    original: APIRoute
    # With FastAPI's layers, and without them if the route has a plan.
    app: ASGIApp
    planned: ASGIApp | None
    template: str


@dataclass
class _Node:
    """The routes whose paths begin with the same segments."""

    literals: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    ends: list[_Route] = field(default_factory=list)
    # Routes whose next parameter may contain slashes.
    open_ends: list[_Route] = field(default_factory=list)

    def add(self, segments: list[str], route: _Route) -> None:
        if not segments:
            self.ends.append(route)
        elif _PATH in segments[0]:
            self.open_ends.append(route)
        elif "{" in segments[0]:
            self.parameter = self.parameter or _Node()
            self.parameter.add(segments[1:], route)
        else:
            self.literals.setdefault(segments[0], _Node()).add(segments[1:], route)

    def find(self, segments: list[str], depth: int = 0) -> Iterator[_Route]:
        """Yield the routes that may match these segments from `depth` on, in any order."""
        yield from self.open_ends
        if depth == len(segments):
            yield from self.ends
            return
        if node := self.literals.get(segments[depth]):
            yield from node.find(segments, depth + 1)
        if self.parameter:
            yield from self.parameter.find(segments, depth + 1)


class RouteIndex:
    """Handles requests whose path and method match an API route; `others` handles the rest.

    As with FastAPI, the first matching route handles the request. `others` is FastAPI's router:
    it responds to unknown paths and methods, and has the routes that were added later or are not
    API routes. Routes with a plan are called without FastAPI's layers. `is_local` tells whether
    routes for development exist. In the scope, `path_template` is the path as the application
    declares it.
    """

    def __init__(self, app: FastAPI, others: ASGIApp, *, is_local: bool) -> None:
        self._app = app
        handlers = _error_handlers(app)
        self._others = _with_layers(others, handlers)
        self._root = _Node()
        paths = []
        for order, route in enumerate(iter_route_contexts(app.routes)):
            original = route.original_route
            hidden = getattr(original, "development_only", False) and not is_local
            if isinstance(original, APIRoute) and not hidden:
                path = str(route.path)
                self._root.add(path.split("/"), _route(order, route, original, handlers))
                paths.append(path)
        # The most frequent requests have paths without parameters.
        self._known = {path: self._candidates(path) for path in paths if "{" not in path}

    def _candidates(self, path: str) -> list[_Route]:
        return sorted(self._root.find(path.split("/")))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self._others(scope, receive, send)
        path, method = get_route_path(scope), scope["method"]
        for route in self._known.get(path) or self._candidates(path):
            if method in route.methods and (match := route.match(path)):
                scope["path_params"] = {
                    name: route.convertors[name].convert(value)
                    for name, value in match.groupdict().items()
                }
                scope["endpoint"], scope["route"] = route.endpoint, route.original
                scope["path_template"] = route.template
                scope["router"] = scope["app"].router
                if route.planned and not self._app.dependency_overrides:
                    return route.planned(scope, receive, send)
                return route.app(scope, receive, send)
        # For the log line of a method that the path does not have.
        known = (each.template for each in self._candidates(path) if each.match(path))
        scope["path_template"] = next(known, None)
        return self._others(scope, receive, send)


def _route(order: int, route: RouteContext, original: APIRoute, handlers: ErrorHandlers) -> _Route:
    handle = original.planned_handler(route) if isinstance(original, Route) else None
    return _Route(
        order,
        frozenset(route.methods or ()),
        route.path_regex.match,
        route.param_convertors,
        route.endpoint,
        original,
        _with_layers(route.app, handlers),
        responding(handle, handlers) if handle else None,
        str(route.path_format),
    )


def _with_layers(inner: ASGIApp, handlers: ErrorHandlers) -> ASGIApp:
    """Return `inner` with the layers that FastAPI has around its router.

    One handles errors, the other closes the files of forms.
    """
    return ExceptionMiddleware(AsyncExitStackMiddleware(inner), handlers)


def _error_handlers(app: FastAPI) -> ErrorHandlers:
    """Return the handlers of errors; raise `TypeError` for one that plans do not know."""
    for kind, handler in app.exception_handlers.items():
        if not isinstance(kind, type) or kind is Exception or not iscoroutinefunction(handler):
            raise TypeError(
                f"The handler of {kind} must be a coroutine function for a class of errors other "
                "than Exception."
            )
    return dict(app.exception_handlers)
