"""Responses from the schemas that handlers return, with `fields`, `ETag`, `Link` and `Location`.

The type checker ensures that handlers return their annotation, so nothing is validated again.
"""

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import wraps
from http import HTTPStatus
from string import Formatter
from typing import Annotated, Any, NamedTuple, get_args, get_origin
from urllib.parse import quote
from uuid import UUID

from fastapi import Depends, params
from pydantic import BaseModel
from starlette.responses import Response

from backend.core.client_info import current_scope
from backend.core.http.pagination import ListParameters, ResourceParameters
from backend.core.lists import Page
from backend.core.preconditions import are_unchecked, is_not_modified, tag_of
from backend.core.schemas import Schema

Endpoint = Callable[..., Awaitable[Any]]
JSON = "application/json"
# The parameter that is added to those of a handler.
_SELECTION = "selected_fields"
_VARY = b"vary", b"Authorization, Cookie"
_PRIVATE = b"cache-control", b"private, no-cache"


class UncheckedPreconditionsError(Exception):
    """The service of a route ignores If-Match, so that a stale change would be stored."""

    def __init__(self, handler: str) -> None:
        super().__init__(
            f"{handler} ignores If-Match: its service must await "
            "backend.core.preconditions.check_preconditions where it has locked the row."
        )


def rendered(
    endpoint: Endpoint,
    path: str,
    methods: Collection[str],
    *,
    is_tagged: Callable[[type], bool],
    must_check: Callable[[], bool],
    status_code: int | None = None,
    location: str | None = None,
    selects_fields: bool = True,
) -> Endpoint:
    """Return the endpoint of a route as a function that returns a response.

    A page contains the selected fields, and a `Link` to the next page. A resource returned by GET
    contains the selected fields if `selects_fields`, and has an `ETag`, like results of other
    methods that `is_tagged` accepts. `location` is the path of a created resource, such as
    `/notes/{id}`, relative to the prefix of the route's `path`; its parameters are members of the
    result. If `must_check()`, the endpoint has to check the preconditions of its request. FastAPI
    renders all other results.
    """
    if not inspect.iscoroutinefunction(endpoint):
        return endpoint
    signature = inspect.signature(endpoint, eval_str=True)
    result, parameters = signature.return_annotation, signature.parameters
    response = _parameter_of_type(Response, parameters.values())
    if "GET" not in methods:
        if location is not None:
            _check_location(endpoint, location, result)
        place = None if location is None else _Location(path, location)
        return _changing(endpoint, status_code or 200, response, place, is_tagged, must_check)
    if not (isinstance(result, type) and issubclass(result, Schema)):
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
        fields = values.pop(_SELECTION)
        resource = await endpoint(**values)
        whole = resource.model_dump_json().encode()
        tag = tag_of(whole)
        if is_not_modified(tag):
            return _tagged(_finished(Response(status_code=304), values, response), tag)
        body = whole if fields is None else resource.model_dump_json(include=fields)
        return _tagged(_finished(Response(body, media_type=JSON), values, response), tag)

    selection = Annotated[Any, Depends(ResourceParameters(schema))]
    return _with_parameter(respond, signature, _SELECTION, selection)


class _Location(NamedTuple):
    """The path of created resources, below the prefix that the route's `path` has in requests."""

    path: str
    template: str

    def of(self, resource: Schema) -> bytes:
        scope = current_scope.get()
        assert scope is not None
        members = {name: _segment(getattr(resource, name)) for name in _members(self.template)}
        # The router is mounted below a prefix, such as /api/v1.
        prefix = quote(scope["path"].rsplit("/", self.path.count("/"))[0], safe="/:@!$&'()*+,;=~")
        return (prefix + self.template.format_map(members)).encode("latin-1")


def _changing(
    endpoint: Endpoint,
    status_code: int,
    response: str | None,
    location: _Location | None,
    is_tagged: Callable[[type], bool],
    must_check: Callable[[], bool],
) -> Endpoint:
    @wraps(endpoint)
    async def respond(**values: Any) -> Any:
        result = await endpoint(**values)
        if are_unchecked() and must_check():
            # Before the commit, so that nothing is changed.
            raise UncheckedPreconditionsError(endpoint.__name__)
        if not isinstance(result, Schema) or not (location or is_tagged(type(result))):
            return result
        body = result.model_dump_json().encode()
        changed = Response(body, status_code, media_type=JSON)
        if location is not None:
            changed.raw_headers.append((b"location", location.of(result)))
        return _tagged(_finished(changed, values, response), tag_of(body))

    return respond


def _segment(value: object) -> str:
    text = str(value)
    # Most values are ids, which need no escapes.
    return text if isinstance(value, UUID) else quote(text, safe="")


def _finished(result: Response, values: Mapping[str, Any], response: str | None) -> Response:
    """Add the headers and status that the handler has set on its `Response` parameter, if any."""
    if response is not None:
        given = values[response]
        result.raw_headers.extend(given.raw_headers)
        if given.status_code and result.status_code != HTTPStatus.NOT_MODIFIED:
            result.status_code = given.status_code
    return result


def _tagged(result: Response, tag: bytes) -> Response:
    """Add the headers of a resource; a handler may have set another `Cache-Control`."""
    result.raw_headers += [(b"etag", tag), _VARY]
    if "cache-control" not in result.headers:
        result.raw_headers.append(_PRIVATE)
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
