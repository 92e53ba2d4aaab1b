"""Responses from the schemas that handlers return, with `fields`, `ETag`, `Link` and `Location`.

The type checker ensures that handlers return their annotation, so nothing is validated again.
"""

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from http import HTTPStatus
from string import Formatter
from typing import Annotated, Any, NamedTuple, get_args, get_origin
from urllib.parse import quote
from uuid import UUID

from fastapi import Depends, params
from pydantic import BaseModel
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from backend.core.client_info import current_scope
from backend.core.fast_json import json_of
from backend.core.http.idempotency import has_key, respond_once
from backend.core.http.inclusions import Included
from backend.core.http.pagination import ListParameters, ResourceParameters
from backend.core.http.route_plan import ALWAYS_RESPONDS
from backend.core.lists import Page, PageBody
from backend.core.preconditions import are_unchecked, is_not_modified, tag_of
from backend.core.schemas import Schema

Endpoint = Callable[..., Awaitable[Any]]
JSON = "application/json"
# Parameters that are added to those of a handler.
_SELECTION, _REQUEST = "selected_fields", "own_request"
VARY = b"vary", b"Authorization, Cookie"
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
    idempotent: bool = False,
    selects_fields: bool = True,
) -> Endpoint:
    """Return the endpoint of a route as a function that returns a response.

    A page contains the selected fields, and a `Link` to the next page. A resource returned by GET
    contains the selected fields if `selects_fields`, and the members that an `Included` parameter
    has loaded. It has an `ETag`, like results of other methods that `is_tagged` accepts. `location`
    is the path of a created resource, such as `/notes/{id}`, relative to the prefix of the route's
    `path`; its parameters are members of the result. If `must_check()`, the endpoint has to check
    the preconditions of its request. If `idempotent`, responses are stored for requests with an
    `Idempotency-Key`. FastAPI renders all other results.
    """
    if not inspect.iscoroutinefunction(endpoint):
        return endpoint
    signature = inspect.signature(endpoint, eval_str=True)
    result, parameters = signature.return_annotation, signature.parameters
    response = _parameter_of_type(Response, parameters.values())
    if get_origin(result) is Page:
        query = next((item.name for item in parameters.values() if _is_list_query(item)), None)
        (item,) = get_args(result)
        result = PageBody.__class_getitem__(item)
        signature = signature.replace(return_annotation=result)
        if query is not None and "GET" in methods:
            return _paged(endpoint, signature, query, response)
        endpoint = _with_body(endpoint, signature)
    if "GET" not in methods:
        if location is not None:
            _check_location(endpoint, location, result)
        place = None if location is None else _Location(path, location)
        change = _Change(status_code or 200, response, place, is_tagged, must_check)
        respond = (
            _idempotent(endpoint, signature, change) if idempotent else _changing(endpoint, change)
        )
        created = place is not None and isinstance(result, type) and issubclass(result, Schema)
        return _responding(respond) if created else respond
    if not (isinstance(result, type) and issubclass(result, Schema)):
        return endpoint
    return _selected(endpoint, signature, response, result) if selects_fields else endpoint


def _paged(
    endpoint: Endpoint, signature: inspect.Signature, query: str, response: str | None
) -> Endpoint:
    @wraps(endpoint)
    async def respond(**values: Any) -> Response:
        return _finished(values[query].render(await endpoint(**values)), values, response)

    return _sign(_responding(respond), signature)


def _with_body(endpoint: Endpoint, signature: inspect.Signature) -> Endpoint:
    """Return the endpoint with the body of its page as its result."""

    @wraps(endpoint)
    async def respond(**values: Any) -> PageBody[Any]:
        page: Page[Any] = await endpoint(**values)
        return page.body()

    return _sign(respond, signature)


def _selected(
    endpoint: Endpoint, signature: inspect.Signature, response: str | None, schema: type[Schema]
) -> Endpoint:
    include = _parameter_of_type(Included, signature.parameters.values())

    @wraps(endpoint)
    async def respond(**values: Any) -> Response:
        fields = values.pop(_SELECTION)
        resource = await endpoint(**values)
        whole = json_of(resource)
        included: bytes = values[include].members if include else b""
        tag = tag_of(whole + included)
        if is_not_modified(tag):
            return _tagged(_finished(Response(status_code=304), values, response), tag)
        body = whole if fields is None else resource.model_dump_json(include=fields).encode()
        if included:
            body = body[:-1] + included + b"}"
        return _tagged(_finished(Response(body, media_type=JSON), values, response), tag)

    selection = Annotated[Any, Depends(ResourceParameters(schema))]
    return _with_parameter(_responding(respond), signature, _SELECTION, selection)


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


@dataclass(frozen=True)
class _Change:
    """How the results of a route other than GET become responses."""

    status_code: int
    response: str | None
    location: _Location | None
    is_tagged: Callable[[type], bool]
    must_check: Callable[[], bool]

    async def run(self, endpoint: Endpoint, values: Mapping[str, Any]) -> Any:
        """Return a response, or a result that FastAPI renders."""
        result = await endpoint(**values)
        if are_unchecked() and self.must_check():
            # Before the commit, so that nothing is changed.
            raise UncheckedPreconditionsError(endpoint.__name__)
        if not isinstance(result, Schema) or not (self.location or self.is_tagged(type(result))):
            return result
        body = json_of(result)
        changed = Response(body, self.status_code, media_type=JSON)
        if self.location is not None:
            changed.raw_headers.append((b"location", self.location.of(result)))
        return _tagged(_finished(changed, values, self.response), tag_of(body))

    async def run_to_response(self, endpoint: Endpoint, values: Mapping[str, Any]) -> Response:
        result = await self.run(endpoint, values)
        if isinstance(result, Response):
            return result
        body = None if result is None else result.model_dump_json()
        rendered = Response(body, self.status_code, media_type=None if body is None else JSON)
        return _finished(rendered, values, self.response)


def _changing(endpoint: Endpoint, change: _Change) -> Endpoint:
    @wraps(endpoint)
    async def respond(**values: Any) -> Any:
        return await change.run(endpoint, values)

    return respond


def _idempotent(endpoint: Endpoint, signature: inspect.Signature, change: _Change) -> Endpoint:
    parameters = signature.parameters.values()
    session = _parameter_of_type(AsyncSession, parameters)
    if session is None:
        raise TypeError(
            f"{endpoint.__name__} has no parameter of the type Session, in whose transaction "
            "responses are stored: add one, or pass idempotent=False."
        )
    request = _parameter_of_type(Request, parameters) or _REQUEST

    @wraps(endpoint)
    async def respond(**values: Any) -> Any:
        sent: Request = values.pop(request) if request == _REQUEST else values[request]
        if not has_key(sent):
            return await change.run(endpoint, values)
        run = partial(change.run_to_response, endpoint, values)
        return await respond_once(sent, values[session], run)

    if request != _REQUEST:
        return respond
    return _with_parameter(respond, signature, _REQUEST, Request)


def _responding(respond: Endpoint) -> Endpoint:
    """Note that the endpoint returns a response whenever it returns."""
    respond.__dict__[ALWAYS_RESPONDS] = True
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
    result.raw_headers += [(b"etag", tag), VARY]
    if "cache-control" not in result.headers:
        result.raw_headers.append(_PRIVATE)
    return result


def _with_parameter(
    respond: Endpoint, signature: inspect.Signature, name: str, annotation: Any
) -> Endpoint:
    added = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
    parameters = [*signature.parameters.values(), added]
    return _sign(respond, signature.replace(parameters=parameters))


def _sign(respond: Endpoint, signature: inspect.Signature) -> Endpoint:
    """Set the signature that FastAPI reads."""
    respond.__signature__ = signature  # type: ignore[attr-defined]  # not in typeshed
    return respond


def _parameter_of_type(kind: type, parameters: Collection[inspect.Parameter]) -> str | None:
    for parameter in parameters:
        annotation = parameter.annotation
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        if isinstance(annotation, type) and issubclass(annotation, kind):
            return parameter.name
    return None


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
