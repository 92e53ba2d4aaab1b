"""Query parameters of lists and resources, and their responses with `fields` and `Link`."""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Depends
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, create_model
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from backend.addresses.ip_addresses import address_key
from backend.core.client_info import client_address
from backend.core.context import context_of
from backend.core.http.json_schemas import list_of_names
from backend.core.http.route_plan import exit_stack_of
from backend.core.lists import Boolean, Integer, Page, ResourceList
from backend.core.principal import Principal
from backend.core.schemas import Id, Schema, Trimmed
from backend.db.lists.specs import MAX_WORDS, ListQuery, ListSpec

MAX_LIMIT = 100
MAX_OFFSET = 10_000
MAX_SEARCH = 100_000  # longer than any URL


@dataclass(frozen=True, kw_only=True)
class PageRequest(ListQuery):
    """The list query of a request, which also renders the page."""

    request: Request

    def render(self, page: Page[Any]) -> Response:
        """Return a response with the selected fields, and `Link` to the next page."""
        if self.fields:
            included: dict[str, Any] = {
                "data": {"__all__": self.fields},
                "next_cursor": True,
                "total": True,
            }
            body: str | bytes = page.body().model_dump_json(include=included)
        else:
            body = page.to_json()
        response = Response(body, media_type="application/json")
        if page.next_cursor:
            response.headers["Link"] = f'<{self._next_url(page.next_cursor)}>; rel="next"'
        return response

    def _next_url(self, cursor: str) -> str:
        kept = [
            (name, value)
            for name, value in self.request.query_params.multi_items()
            if name not in ("cursor", "offset")
        ]
        return f"{self.request.scope['path']}?{urlencode([*kept, ('cursor', cursor)])}"


def list_query(
    request: Request,
    *,
    limit: int = 20,
    cursor: str | None = None,
    offset: int = 0,
    sort: tuple[str, ...] = (),
    total: bool = False,
    q: str | None = None,
    filters: Mapping[str, Any] | None = None,
    fields: Collection[str] | None = None,
) -> PageRequest:
    """Return a list query whose parameters the handler chooses.

    For parameters from the client, use the dependency `list_parameters` instead.
    """
    return PageRequest(
        request=request,
        limit=limit,
        cursor=cursor,
        offset=offset,
        sort=sort,
        total=total,
        q=q,
        filters=filters or {},
        fields=fields,
        caller=_caller_of(request),
        acquire_place=partial(_acquire_place, request),
        cursor_key=context_of(request).cursor_key,
    )


class ResourceParameters:
    """A dependency of routes of one resource: parses `fields`; None means all members."""

    def __init__(self, schema: type[Schema]) -> None:
        self.schema = schema
        self.model = create_model(f"{schema.__name__}Query", fields=_fields_parameter(schema))
        self.query_parameters = frozenset(self.model.model_fields)

    async def __call__(self, request: Request) -> set[str] | None:
        if not request.scope["query_string"]:
            return None
        fields: set[str] | None = validated_query(self.model, request)["fields"]
        return fields


class ListParameters:
    """A dependency of routes of lists: parses the parameters of `spec`."""

    def __init__(self, spec: ListSpec, schema: type[BaseModel]) -> None:
        self.spec = spec
        parameters: dict[str, Any] = {
            "limit": (
                Integer,
                Field(20, ge=1, le=MAX_LIMIT, description="Maximal rows of a page."),
            ),
            "cursor": (str | None, Field(None, description="`next_cursor` of the previous page.")),
            "offset": (
                Integer,
                Field(0, ge=0, le=MAX_OFFSET, description="Rows to skip; not with `cursor`."),
            ),
            "sort": _sort_parameter(spec),
            "total": (Boolean, Field(False, description="Count all matches.")),
            "fields": _fields_parameter(schema),
        }
        if spec.search:
            description = f"{spec.search.description} Only the first {MAX_WORDS} words are used."
            described = Field(None, description=description)
            parameters["q"] = (Annotated[str, Trimmed(MAX_SEARCH)] | None, described)
        for name, option in spec.filters.items():
            kind = Id if option.type is UUID else option.type
            parameters[name] = (kind | None, Field(None, description=option.description))
        self.model = create_model(f"{schema.__name__}ListQuery", **parameters)
        self.query_parameters = frozenset(self.model.model_fields)

    async def __call__(self, request: Request) -> PageRequest:
        values = validated_query(self.model, request)
        if "cursor" in request.query_params and "offset" in request.query_params:
            raise query_error("offset", "exclusive", "Not together with `cursor`.")
        return list_query(
            request,
            limit=values["limit"],
            cursor=values["cursor"],
            offset=values["offset"],
            sort=values["sort"],
            total=values["total"],
            q=values.get("q"),
            filters={name: values[name] for name in self.spec.filters if values[name] is not None},
            fields=values["fields"],
        )


def list_parameters(spec: ResourceList[Any]) -> Any:
    """Return the dependency for a parameter of the type `ListQuery`, a page of `spec`."""
    return Depends(ListParameters(spec, spec.schema))


async def _acquire_place(request: Request) -> None:
    """Wait for one of this process's places for large pages; keep it until the page is rendered.

    A request has one place for all its pages, because one caller's places are taken in turn.
    """
    if request.scope.get("has_large_page"):
        return
    # Closed before the response is sent; the connection limits its unsent bytes.
    stack = exit_stack_of(request.scope)
    await stack.enter_async_context(context_of(request).large_pages.place(_caller_of(request)))
    request.scope["has_large_page"] = True


def _caller_of(request: Request) -> Hashable:
    """Return the user's id, or the address of an anonymous caller."""
    principal: Principal | None = request.scope["principal"]
    return principal.user_id if principal else address_key(client_address(request.scope))


def _fields_parameter(schema: type[BaseModel]) -> Any:
    known = schema.model_fields

    def parse(value: Any) -> Any:
        names = value.split(",") if isinstance(value, str) else ()
        if not names or not known.keys() >= set(names) or len(set(names)) < len(names):
            raise PydanticCustomError(
                "unknown_field", "Contains a member that does not exist, or one twice."
            )
        return set(names)

    field = Field(
        None,
        description="Only these members, comma separated.",
        json_schema_extra=list_of_names(known),
    )
    return Annotated[set[str] | None, BeforeValidator(parse)], field


def _sort_parameter(spec: ListSpec) -> Any:
    def parse(value: Any) -> Any:
        terms = value.split(",") if isinstance(value, str) else ()
        names = [term.removeprefix("-") for term in terms]
        if not all(name in spec.sorts for name in names) or len(set(names)) < len(names):
            raise PydanticCustomError(
                "unknown_sort", "Contains a field that is not sortable, or one twice."
            )
        return tuple(terms)

    described = "Fields, the most significant first, comma separated; `-` for descending. Each "
    described += f"field once. Default `{spec.default_sort}`" + (
        "; with `q` the best match first." if spec.search and spec.search.rank else "."
    )
    terms = [sign + name for name in spec.sorts for sign in ("", "-")]
    field = Field((), description=described, json_schema_extra=list_of_names(terms))
    return Annotated[tuple[str, ...], BeforeValidator(parse)], field


def validated_query(model: type[BaseModel], request: Request) -> dict[str, Any]:
    """Return the query parameters by name; raise `RequestValidationError` if one is invalid."""
    try:
        return vars(model.model_validate(dict(request.query_params.multi_items())))
    except ValidationError as error:
        errors = [{**item, "loc": ("query", *item["loc"])} for item in error.errors()]
        raise RequestValidationError(errors) from None


def query_error(name: str, code: str, message: str) -> RequestValidationError:
    """Return the error of a query parameter."""
    return RequestValidationError([{"type": code, "loc": ("query", name), "msg": message}])
