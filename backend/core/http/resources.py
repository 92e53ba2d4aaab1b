"""Single resources: the routes that return one, and the routes that change one."""

from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, get_args

from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from backend.core.http.pagination import ResourceParameters
from backend.core.preconditions import REPRESENTS, Represent
from backend.core.schemas import Schema

Handle = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True)
class Resources:
    """The schemas and path templates of the resources that GET routes return."""

    schemas: frozenset[type[Schema]]
    paths: frozenset[str]

    def are_changed_by(self, path: str, methods: Collection[str], status_code: int | None) -> bool:
        """Return whether a route changes a resource that has an entity tag.

        That is the resource at its path, or the one above it: of `/notes/{id}/publish` the note.
        A route that creates another resource changes none.
        """
        if "GET" in methods or status_code == HTTPStatus.CREATED:
            return False
        return path in self.paths or path.rpartition("/")[0] in self.paths


def resource_of(route: APIRoute) -> type[Schema] | None:
    """Return the schema of the resource that a GET route returns, or None if it returns others."""
    calls = (dependency.call for dependency in route.dependant.dependencies)
    return next((call.schema for call in calls if isinstance(call, ResourceParameters)), None)


def resources_of(routes: Iterable[tuple[str, object]]) -> Resources:
    """Return the resources of routes with these path templates."""
    found = [
        (path, schema)
        for path, route in routes
        if isinstance(route, APIRoute) and (schema := resource_of(route)) is not None
    ]
    return Resources(frozenset(schema for _, schema in found), frozenset(path for path, _ in found))


def parts_of(*annotations: Any) -> Iterator[Any]:
    """Yield what annotations consist of: schemas, their members' annotations, and metadata."""
    waiting, visited = list(annotations), set()
    while waiting:
        part = waiting.pop()
        yield part
        if not (isinstance(part, type) and issubclass(part, BaseModel)):
            waiting += get_args(part)
        elif part not in visited:
            visited.add(part)
            for member in part.model_fields.values():
                waiting += [*member.metadata, member.annotation]


def representing(represents: Mapping[type, Represent], handle: Handle) -> Handle:
    """Return a handler for a version of the API that represents resources of services differently.

    `represents` maps the schema of such a resource to the function that converts one.
    """

    async def respond(request: Request) -> Response:
        request.scope[REPRESENTS] = represents
        return await handle(request)

    return respond
