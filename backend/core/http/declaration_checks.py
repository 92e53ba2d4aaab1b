"""Checks that the OpenAPI document describes each route, before the application starts."""

import inspect
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, get_args, get_origin

from fastapi import params
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext
from pydantic import BaseModel

from backend.core.http.openapi import operation_id
from backend.core.http.pagination import ListParameters
from backend.core.http.routing import Route
from backend.core.lists import PageBody
from backend.core.schemas import Bulk, Schema
from backend.db.lists.specs import ListSpec


def declaration_problems(routes: Iterable[tuple[str, RouteContext]]) -> Iterator[str]:
    """Yield a sentence with the remedy for everything that a route leaves undescribed.

    `routes` are the name of the module, and the route, which `route_problems` has accepted.
    """
    operations: dict[str, str] = {}
    schemas: dict[str, tuple[type[BaseModel], str]] = {}
    for module, context in routes:
        route = context.original_route
        assert isinstance(route, Route)
        where = f"Module '{module}', {'/'.join(sorted(route.methods or ()))} {context.path}"
        if place := _place(route):
            where += f" ({place})"
        if len(set(context.tags)) != 1:
            yield f"{where}: give its router one tag: Router(prefix=..., tags=[...])."
        for problem in _problems(route):
            yield f"{where}: {problem}"
        operation = operation_id(context)
        if other := operations.get(operation):
            yield (
                f"{where}: module '{other}' has an operation '{operation}' already; rename the "
                "handler, or give the router another tag."
            )
        operations[operation] = module
        for model in _models_of(route):
            known, owner = schemas.setdefault(model.__name__, (model, module))
            if known is not model and owner != module:
                yield (
                    f"{where}: module '{owner}' has a schema {model.__name__} too, so that clients "
                    f"would get other names for both; rename that of '{module}'."
                )


def _place(route: Route) -> str:
    """Return the file and line of the handler, such as `notes/router.py:20`."""
    code = getattr(inspect.unwrap(route.endpoint), "__code__", None)
    if code is None:
        return ""
    file = Path(code.co_filename)
    return f"{file.parent.name}/{file.name}:{code.co_firstlineno}"


def _problems(route: Route) -> Iterator[str]:
    if not route.description.strip().endswith("."):
        yield "describe it to clients in the handler's docstring, in sentences with full stops."
    if "{" in route.path and not {404, "404"} & route.responses.keys():
        yield "declare its 404: responses=error_responses(<the module's not-found error>)."
    yield from _result_problems(route)
    for spec in _lists_of(route.dependant):
        name = spec.default_sort.removeprefix("-")
        if name not in spec.sorts:
            yield (
                f"its list '{spec.name}' is sorted by '{name}', which is not among its sorts "
                f"({', '.join(spec.sorts) or 'there are none'}): name its column in `sorts`, or "
                "another sort as `default_sort`."
            )
    for name in _undescribed(route.dependant):
        yield f"describe the query parameter '{name}': Query(description=...), or Filter's third."
    if route.body_field is not None and not isinstance(route.body_field.field_info, params.Form):
        for model in _open_models(route.body_field.field_info.annotation):
            yield (
                f"its body {model.__name__} accepts unknown members; derive it from "
                "backend.core.schemas.Schema."
            )


def _result_problems(route: Route) -> Iterator[str]:
    result = None if route.response_field is None else route.response_field.field_info.annotation
    kind = result if isinstance(result, type) else get_origin(result)
    is_read = route.methods == {"GET"}
    is_created = route.methods == {"POST"} and route.status_code == HTTPStatus.CREATED
    if result in (None, Any) and not _describes_content(route):
        yield "annotate the schema that the handler returns."
    elif kind in (list, set, tuple):
        yield "return a Page of the rows: collections have `data`, `next_cursor` and `total`."
    elif isinstance(kind, type) and issubclass(kind, PageBody):
        if is_read and not any(_lists_of(route.dependant)):
            yield "take a parameter of the type Annotated[ListQuery, list_parameters(...)]."
    elif isinstance(kind, type) and issubclass(kind, BaseModel) and not issubclass(kind, Schema):
        yield f"derive {kind.__name__} from backend.core.schemas.Schema."
    elif is_created and route.location is None and not _is_bulk(kind):
        yield "name the created resource's address: location=<the handler that reads it>."


def _describes_content(route: Route) -> bool:
    """Return whether the route has no content, or describes it by `responses=`."""
    if route.status_code in (HTTPStatus.NO_CONTENT, HTTPStatus.ACCEPTED):
        return True
    return any(response.get("content") for response in route.responses.values())


def _is_bulk(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Bulk)


def _lists_of(dependant: Dependant) -> Iterator[ListSpec]:
    for each in dependant.dependencies:
        if isinstance(each.call, ListParameters):
            yield each.call.spec


def _undescribed(dependant: Dependant) -> Iterator[str]:
    """Yield the names of query parameters that have no description."""
    for field in dependant.query_params:
        if not (field.field_info.description or "").strip():
            yield field.alias
    model = getattr(dependant.call, "model", None)
    if isinstance(model, type) and issubclass(model, BaseModel):
        for name, parameter in model.model_fields.items():
            if not (parameter.description or "").strip():
                yield name
    for dependency in dependant.dependencies:
        yield from _undescribed(dependency)


def _open_models(annotation: Any) -> Iterator[type[BaseModel]]:
    return (
        model
        for model in _models_in(annotation, set())
        if model.model_config.get("extra") != "forbid"
    )


def _models_of(route: Route) -> Iterator[type[BaseModel]]:
    fields = (route.body_field, route.response_field)
    for field in fields:
        if field is not None:
            yield from _models_in(field.field_info.annotation, set())


def _models_in(annotation: Any, seen: set[type]) -> Iterator[type[BaseModel]]:
    """Yield the models of a type, and of the members of these models."""
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    if is_model and annotation not in seen:
        seen.add(annotation)
        yield annotation
        for field in annotation.model_fields.values():
            yield from _models_in(field.annotation, seen)
    for argument in get_args(annotation):
        yield from _models_in(argument, seen)
