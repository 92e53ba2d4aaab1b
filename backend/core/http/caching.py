"""Caching of responses to anonymous callers, declared by their routes.

    @router.get("/{id}", dependencies=[cached("notes", "notes:{id}", parameters=("fields",))])

Only responses with status 200 are cached. They are read from the primary, and carry `Age` and
`Cache-Control: public`, so that no browser or proxy uses one longer than `MAX_AGE` seconds after it
was read. Signed-in callers always get a response of their own.
"""

import math
from collections.abc import Callable, Collection, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import Depends
from fastapi.dependencies.models import Dependant
from starlette.requests import Request
from starlette.responses import Response

from backend.core.client_info import current_scope
from backend.core.context import context_of
from backend.core.http.rendering import VARY
from backend.core.preconditions import is_not_modified
from backend.core.response_cache import MAX_AGE, CachedResponse, Headers, ResponseCache

Handle = Callable[[Request], Coroutine[Any, Any, Response]]
MAX_KEY = 512  # characters
_CONDITIONS = (b"if-none-match", b"if-modified-since", b"range")
# Headers that are set each time a response is used.
_OWN_HEADERS = (b"cache-control", b"vary")
_PUBLIC = (b"cache-control", f"public, max-age={MAX_AGE}".encode())


@dataclass(frozen=True)
class Cached:
    """The declaration of a cached route.

    tags        names by which its responses are dropped; `{name}` is a parameter of the path
    parameters  query parameters of cached requests; requests with others are not cached
    """

    tags: tuple[str, ...]
    parameters: frozenset[str]

    async def __call__(self) -> None:
        """Do nothing: `Route` reads the declaration."""


def cached(*tags: str, parameters: Collection[str] = ()) -> Any:
    """Declare that a route's responses to anonymous callers are cached; see `Cached`."""
    return Depends(Cached(tags, frozenset(parameters)))


def declaration_of(dependant: Dependant) -> Cached | None:
    calls = (dependency.call for dependency in dependant.dependencies)
    return next((call for call in calls if isinstance(call, Cached)), None)


def caching(declared: Cached, handle: Handle) -> Handle:
    """Return a handler that uses the cache for anonymous requests, and `handle` for others."""

    async def respond(request: Request) -> Response:
        scope = request.scope
        cache = context_of(request).cache
        if cache is None or scope["principal"] is not None:
            return await handle(request)
        parameters = sorted(request.query_params.multi_items())
        key = f"{scope['path']}?{urlencode(parameters)}"
        if len(key) > MAX_KEY or not declared.parameters.issuperset(dict(parameters)):
            return await handle(request)
        # A UUID may be written in upper case.
        tags = [tag.format_map(request.path_params).lower() for tag in declared.tags]

        async def read() -> tuple[Headers, bytes]:
            return await _read(handle, request)

        return _rendered(cache, await cache.load(key, tags, read))

    return respond


async def _read(handle: Handle, request: Request) -> tuple[Headers, bytes]:
    """Return headers and body of the full response, independent of this request's conditions.

    The request may end before the read does, so the read has exit stacks of its own.
    """
    async with AsyncExitStack() as request_stack, AsyncExitStack() as function_stack:
        scope = {
            **request.scope,
            "headers": [item for item in request.scope["headers"] if item[0] not in _CONDITIONS],
            "response_headers": [],
            "reads_primary": True,
            "fastapi_inner_astack": request_stack,
            "fastapi_function_astack": function_stack,
        }
        token = current_scope.set(scope)
        try:
            response = await handle(Request(scope, request.receive))
        finally:
            current_scope.reset(token)
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in response.raw_headers
        if name not in _OWN_HEADERS
    ]
    return headers, bytes(response.body)


def _rendered(cache: ResponseCache, cached: CachedResponse) -> Response:
    """Return the response with its present age, or 304 if the client has it already."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in cached.headers]
    tag = dict(headers).get(b"etag")
    if tag is not None and is_not_modified(tag):
        response = Response(status_code=HTTPStatus.NOT_MODIFIED)
        headers = [(b"etag", tag)]
    else:
        response = Response(cached.body)
    # Rounded up, so that the response is not used too long.
    age = f"{math.ceil(cache.age(cached))}".encode()
    response.raw_headers = [*headers, _PUBLIC, VARY, (b"age", age)]
    return response
