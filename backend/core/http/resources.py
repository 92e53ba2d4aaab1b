"""Single resources: the routes that return one, and the routes that change one."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from http import HTTPStatus

from fastapi.routing import APIRoute

from backend.core.http.pagination import ResourceParameters
from backend.core.schemas import Schema


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
