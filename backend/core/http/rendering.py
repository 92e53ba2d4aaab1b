"""Responses from the schemas that handlers return, with `fields`, `Link` and `Location`.

The type checker ensures that handlers return their annotation, so nothing is validated again.
"""

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import wraps
from string import Formatter
from typing import Annotated, Any, get_args, get_origin
from urllib.parse import quote
from uuid import UUID

from fastapi import Depends, params
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from backend.core.http.pagination import ListParameters, ResourceParameters, json_response
from backend.core.lists import Page
from backend.core.schemas import Schema

Endpoint = Callable[..., Awaitable[Any]]
# Parameters that are added to a handler's own.
_SELECTION, _REQUEST = "field_selection", "own_request"


def rendered(
    endpoint: Endpoint,
    path: str,
    methods: Collection[str],
    *,
    status_code: int | None = None,
    location: str | None = None,
    selects_fields: bool = True,
) -> Endpoint:
    """Return the endpoint of a route as a function that returns a response.

    A page contains the selected fields, and a `Link` to the next page. A resource returned by GET
    contains the selected fields if `selects_fields`. `location` is the path of a created resource,
    such as `/notes/{id}`, relative to the prefix of the route's `path`; its parameters are members
    of the result. All other endpoints are returned unchanged, for FastAPI to render.
    """
    if not inspect.iscoroutinefunction(endpoint):
        return endpoint
    signature = inspect.signature(endpoint, eval_str=True)
    result, parameters = signature.return_annotation, signature.parameters
    response = _parameter_of_type(Response, parameters.values())
    if location is not None:
        _check_location(endpoint, location, result)
        return _located(endpoint, signature, response, status_code or 201, path, location)
    if "GET" not in methods or not (isinstance(result, type) and issubclass(result, Schema)):
        return endpoint
    if issubclass(result, Page):
        query = next((item.name for item in parameters.values() if _is_list_query(item)), None)
        return endpoint if query is None else _paged(endpoint, query, response)
    return _selected(endpoint, signature, response, result) if selects_fields else endpoint


def _paged(endpoint: Endpoint, query: str, response: str | None) -> Endpoint:
    @wraps(endpoint)
    async def respond(**values: Any) -> Response:
        page = await endpoint(**values)
        return _finished(values[query].render(page), values, response)

    return respond


def _selected(
    endpoint: Endpoint, signature: inspect.Signature, response: str | None, schema: type[Schema]
) -> Endpoint:
    @wraps(endpoint)
    async def respond(**values: Any) -> Response:
        selection = values.pop(_SELECTION)
        resource = await endpoint(**values)
        return _finished(selection.render(resource), values, response)

    selection = Annotated[Any, Depends(ResourceParameters(schema))]
    return _with_parameter(respond, signature, _SELECTION, selection)


def _located(
    endpoint: Endpoint,
    signature: inspect.Signature,
    response: str | None,
    status_code: int,
    path: str,
    location: str,
) -> Endpoint:
    members, segments = _members(location), path.count("/")
    request = _parameter_of_type(Request, signature.parameters.values())

    @wraps(endpoint)
    async def respond(**values: Any) -> Response:
        scope = (values.pop(_REQUEST) if request is None else values[request]).scope
        result = await endpoint(**values)
        if isinstance(result, Response):
            return result
        created = json_response(result, status_code=status_code)
        filled = {name: _segment(getattr(result, name)) for name in members}
        # The router is mounted below a prefix, such as /api/v1.
        prefix = quote(scope["path"].rsplit("/", segments)[0], safe="/:@!$&'()*+,;=~")
        address = prefix + location.format_map(filled)
        created.raw_headers.append((b"location", address.encode("latin-1")))
        return _finished(created, values, response)

    if request is not None:
        return respond
    return _with_parameter(respond, signature, _REQUEST, Request)


def _segment(value: object) -> str:
    text = str(value)
    # Most values are ids, which need no escapes.
    return text if isinstance(value, UUID) else quote(text, safe="")


def _finished(result: Response, values: Mapping[str, Any], response: str | None) -> Response:
    """Add the headers and status that the handler has set on its `Response` parameter, if any."""
    if response is not None:
        given = values[response]
        result.raw_headers.extend(given.raw_headers)
        result.status_code = given.status_code or result.status_code
    return result


def _with_parameter(
    respond: Endpoint, signature: inspect.Signature, name: str, annotation: Any
) -> Endpoint:
    added = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
    # FastAPI reads this signature.
    respond.__signature__ = signature.replace(  # type: ignore[attr-defined]  # not in typeshed
        parameters=[*signature.parameters.values(), added]
    )
    return respond


def _parameter_of_type(kind: type, parameters: Collection[inspect.Parameter]) -> str | None:
    names = (
        parameter.name
        for parameter in parameters
        if isinstance(parameter.annotation, type) and issubclass(parameter.annotation, kind)
    )
    return next(names, None)


def _is_list_query(parameter: inspect.Parameter) -> bool:
    return any(
        isinstance(item, params.Depends) and isinstance(item.dependency, ListParameters)
        for item in getattr(parameter.annotation, "__metadata__", ())
    )


def _members(location: str) -> Sequence[str]:
    return [name for _, name, _, _ in Formatter().parse(location) if name]


def _check_location(endpoint: Endpoint, location: str, result: Any) -> None:
    options = get_args(result) if get_origin(result) is not None else (result,)
    for kind in options:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            unknown = set(_members(location)) - kind.model_fields.keys()
            if not unknown:
                return
            raise TypeError(
                f"{endpoint.__name__} has the location {location}, but {kind.__name__} has no "
                f"{', '.join(sorted(unknown))}."
            )
    raise TypeError(
        f"{endpoint.__name__} has the location {location}, but does not return a schema."
    )
