"""The query parameter `include`: rows of other modules as members of a resource.

The module of the resource adds the parameter to the handler, which loads what is asked for:

    NoteInclude = Annotated[Included, include_parameter("notes")]

    async def read_note(id: Id, by: MayRead, reader: Reader, include: NoteInclude) -> NoteOut:
        if include:
            await include.load(reader, by, id)
        return await service.get_note(reader, by, id)

Other modules declare the rows in their manifests:

    inclusions=(Inclusion("notes", "comments", CommentOut, service.comments_of),)
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from fastapi import Depends
from fastapi.routing import APIRoute, RouteContext
from pydantic import Field, create_model
from starlette.requests import Request

from backend.core.context import Inclusion, context_of
from backend.core.http.json_schemas import REFERENCE, list_of_names
from backend.core.http.pagination import list_query, query_error
from backend.core.http.resources import resource_of
from backend.core.lists import PageBody
from backend.core.module import Module
from backend.core.principal import Principal
from backend.db.query_runner import QueryRunner

_DESCRIPTION = (
    "Adds members with the first page of what belongs to the resource, comma separated. The "
    "`ETag` is then that of the resource with these members; `If-Match` takes the one of the "
    "resource without them."
)


class Included:
    """The inclusions that a request asks for; false if there are none."""

    def __init__(self, request: Request, wanted: Sequence[Inclusion] = ()) -> None:
        self._request = request
        self._wanted = wanted
        # As JSON, each after a comma.
        self.members = b""

    def __bool__(self) -> bool:
        return bool(self._wanted)

    async def load(self, reader: QueryRunner, by: Principal, id: UUID) -> None:
        """Load the members for the resource with this id.

        Handlers call this before they read the resource: it raises `PermissionDeniedError`, also
        for an id that does not exist.
        """
        for each in self._wanted:
            page = await each.load(reader, by, id, list_query(self._request))
            self.members += b',"%s":%s' % (each.name.encode(), page.to_json())


class IncludeParameter:
    """A dependency of routes of one resource of the module `of`: parses `include`."""

    query_parameters = frozenset({"include"})

    def __init__(self, of: str) -> None:
        self.of = of

    async def __call__(self, request: Request) -> Included:
        if not request.scope["query_string"] or "include" not in request.query_params:
            return Included(request)
        known = _by_name(self.of, context_of(request).inclusions)
        names = request.query_params["include"].split(",")
        if not known.keys() >= set(names) or len(set(names)) < len(names):
            raise query_error(
                "include", "unknown_inclusion", "Contains an unknown name, or one twice."
            )
        return Included(request, [known[name] for name in names])


def include_parameter(of: str) -> Any:
    """Return the dependency for a parameter of the type `Included` in a route of module `of`."""
    return Depends(IncludeParameter(of))


def inclusions_of(modules: Iterable[Module]) -> Sequence[Inclusion]:
    return tuple(each for module in modules for each in module.inclusions)


def describe_inclusions(
    operation: dict[str, Any],
    route: APIRoute,
    schemas: dict[str, Any],
    inclusions: Iterable[Inclusion],
) -> None:
    """Describe `include` and the response with its members, if the route takes inclusions."""
    of = _including_module(route)
    known = _by_name(of, inclusions) if of else {}
    if not known:
        return
    members: dict[str, Any] = {
        name: (PageBody[each.schema], Field(description=f"Only with `include={name}`."))  # type: ignore[name-defined]  # a class at run time
        for name, each in known.items()
    }
    model = create_model("Inclusions", **members)
    added = model.model_json_schema(mode="serialization", ref_template=REFERENCE)
    response = operation["responses"][str(route.status_code or 200)]["content"]["application/json"]
    resource = schemas[response["schema"]["$ref"].rpartition("/")[2]]
    title = f"{resource['title']}WithInclusions"
    properties = resource["properties"] | added["properties"]
    schemas[title] = {**resource, "properties": properties, "title": title}
    schemas.update({**added["$defs"], **schemas})
    response["schema"] = {"$ref": REFERENCE.format(model=title)}
    parameter = {
        "name": "include",
        "in": "query",
        "description": _DESCRIPTION,
        "schema": list_of_names(known),
        "style": "form",
        "explode": False,
    }
    operation.setdefault("parameters", []).append(parameter)


def inclusion_problems(modules: Sequence[Module], routes: Iterable[RouteContext]) -> Iterator[str]:
    """Yield a sentence with the remedy for each invalid inclusion."""
    names = {module.name for module in modules}
    # The modules to which the members of resources belong.
    owners: dict[str, dict[str, str]] = {}
    for route in routes:
        if isinstance(original := route.original_route, APIRoute):
            of, schema = _including_module(original), resource_of(original)
            if of and schema:
                owners.setdefault(of, {}).update(dict.fromkeys(schema.model_fields, of))
    for module in modules:
        for each in module.inclusions:
            subject = f"Module '{module.name}' has the inclusion '{each.name}' of '{each.of}'"
            if each.of not in names:
                yield f"{subject}, which does not exist."
            elif each.of not in module.depends_on:
                yield f"{subject}: add '{each.of}' to its depends_on."
            elif each.of not in owners:
                yield (
                    f"{subject}, which has no route with the parameter `include`: add one; see "
                    "backend.core.http.inclusions."
                )
            elif each.name in owners[each.of]:
                yield (
                    f"{subject}, but module '{owners[each.of][each.name]}' has a member of that "
                    "name already: choose another one."
                )
            else:
                owners[each.of][each.name] = module.name


def _by_name(of: str, inclusions: Iterable[Inclusion]) -> dict[str, Inclusion]:
    return {each.name: each for each in inclusions if each.of == of}


def _including_module(route: APIRoute) -> str | None:
    calls = (dependency.call for dependency in route.dependant.dependencies)
    return next((call.of for call in calls if isinstance(call, IncludeParameter)), None)
