"""Lists and single resources over HTTP: query parameters in, one envelope out."""

import re
from collections.abc import Callable, Hashable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from fastapi.exceptions import RequestValidationError
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    create_model,
)
from pydantic_core import PydanticCustomError
from sqlalchemy import SQLColumnExpression
from starlette.requests import Request
from starlette.responses import Response

from backend.addresses.ip_addresses import address_key
from backend.core.client_info import client_address
from backend.core.context import context_of
from backend.core.principal import Principal
from backend.core.schemas import Id, Schema, Trimmed
from backend.db.lists.pages import MAX_WORDS, Filter, ListQuery, ListSpec, RowPage
from backend.db.query_runner import Row

T = TypeVar("T", bound=BaseModel)
MAX_LIMIT = 100
MAX_OFFSET = 10_000
MAX_SEARCH = 100_000  # no address is longer


class Page(Schema, Generic[T]):
    """A page of a collection."""

    data: list[T]
    next_cursor: str | None = Field(None, description="Pass as `cursor` for the next page.")
    total: int | None = Field(None, description="All that match; only with `total=true`.")

    @classmethod
    def from_rows(cls, page: RowPage, tell: Callable[[Row], T]) -> "Page[T]":
        """The page whose rows are told by `tell`, usually a schema's `from_row`."""
        data = [tell(row) for row in page.rows]
        return cls(data=data, next_cursor=page.next_cursor, total=page.total)


def _integer(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,9}", value):
        raise PydanticCustomError("int_parsing", "Must be an integer.")
    return value


def _boolean(value: Any) -> Any:
    if isinstance(value, str) and value not in ("true", "false"):
        raise PydanticCustomError("bool_parsing", "Must be true or false.")
    return value


def _moment(value: Any) -> Any:
    # pydantic would also take a bare number as seconds since 1970.
    if isinstance(value, str) and not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T", value):
        raise PydanticCustomError("datetime_parsing", "Must be an RFC 3339 time with a zone.")
    return value


Integer = Annotated[int, BeforeValidator(_integer)]
Boolean = Annotated[bool, BeforeValidator(_boolean)]
Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]


def created_filters(column: SQLColumnExpression[datetime]) -> dict[str, Filter]:
    """The filters that every collection of dated rows offers."""
    return {
        "created_after": Filter(
            Moment, lambda since: column >= since, "At or after this time.", span=True
        ),
        "created_before": Filter(
            Moment, lambda until: column < until, "Before this time.", span=True
        ),
    }


@dataclass(frozen=True)
class FieldSelection:
    """How one resource is to be told. `fields` None means whole."""

    fields: set[str] | None

    def render(self, resource: BaseModel) -> Response:
        return _json(resource.model_dump_json(include=self.fields))


@dataclass(frozen=True)
class PageRequest:
    """The page a client asked for, and how it is to be told."""

    query: ListQuery
    fields: set[str] | None
    request: Request

    def render(self, page: Page[T]) -> Response:
        included: dict[str, Any] | None = None
        if self.fields:
            included = {"data": {"__all__": self.fields}, "next_cursor": True, "total": True}
        response = _json(page.model_dump_json(include=included))
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


class ResourceParameters:
    """Dependency of a route that answers one resource: reads `fields`."""

    def __init__(self, schema: type[BaseModel]) -> None:
        self.model = create_model(f"{schema.__name__}Query", fields=_fields_parameter(schema))
        self.query_parameters = frozenset(self.model.model_fields)

    async def __call__(self, request: Request) -> FieldSelection:
        return FieldSelection(_validated(self.model, request)["fields"])


class ListParameters:
    """Dependency of a route that answers a page: reads all that `spec` offers."""

    def __init__(self, spec: ListSpec, schema: type[BaseModel]) -> None:
        self.filters = tuple(spec.filters)
        parameters: dict[str, Any] = {
            "limit": (Integer, Field(20, ge=1, le=MAX_LIMIT, description="Most rows of a page.")),
            "cursor": (str | None, Field(None, description="`next_cursor` of the page before.")),
            "offset": (
                Integer,
                Field(0, ge=0, le=MAX_OFFSET, description="Rows to skip; not with `cursor`."),
            ),
            "sort": _sort_parameter(spec),
            "total": (Boolean, Field(False, description="Count all that match.")),
            "fields": _fields_parameter(schema),
        }
        if spec.search:
            told = f"{spec.search.description} The first {MAX_WORDS} words count."
            described = Field(None, description=told)
            parameters["q"] = (Annotated[str, Trimmed(MAX_SEARCH)] | None, described)
        for name, each in spec.filters.items():
            kind = Id if each.type is UUID else each.type
            parameters[name] = (kind | None, Field(None, description=each.description))
        self.model = create_model(f"{schema.__name__}ListQuery", **parameters)
        self.query_parameters = frozenset(self.model.model_fields)

    async def __call__(self, request: Request) -> PageRequest:
        values = _validated(self.model, request)
        if "cursor" in request.query_params and "offset" in request.query_params:
            raise _refused("offset", "exclusive", "Not together with `cursor`.")
        query = ListQuery(
            limit=values["limit"],
            cursor=values["cursor"],
            offset=values["offset"],
            sort=values["sort"],
            total=values["total"],
            q=values.get("q"),
            filters={name: values[name] for name in self.filters if values[name] is not None},
            fields=values["fields"],
            caller=_caller_of(request),
            room=partial(_wait_for_room, request),
            cursor_key=context_of(request).cursor_key,
        )
        return PageRequest(query, values["fields"], request)


async def _wait_for_room(request: Request) -> None:
    """Wait for a place among the large pages in this process; it is kept until the page is told."""
    # FastAPI leaves this stack before it sends the answer, whose bytes the connection counts.
    stack: AsyncExitStack = request.scope["fastapi_function_astack"]
    await stack.enter_async_context(context_of(request).large_pages.place())


def _caller_of(request: Request) -> Hashable:
    """The user, or of anonymous callers the address."""
    principal: Principal | None = request.scope["principal"]
    return principal.user_id if principal else address_key(client_address(request.scope))


def _fields_parameter(schema: type[BaseModel]) -> Any:
    known = schema.model_fields

    def parse(value: Any) -> Any:
        names = value.split(",") if isinstance(value, str) else ()
        if not names or not all(name in known for name in names):
            raise PydanticCustomError("unknown_field", "Names a member that does not exist.")
        return set(names)

    described = f"Only these members, comma separated: {', '.join(known)}."
    field = Field(None, description=described, json_schema_extra={"type": "string"})
    return Annotated[set[str] | None, BeforeValidator(parse)], field


def _sort_parameter(spec: ListSpec) -> Any:
    def parse(value: Any) -> Any:
        terms = value.split(",") if isinstance(value, str) else ()
        names = [term.removeprefix("-") for term in terms]
        if not all(name in spec.sorts for name in names) or len(set(names)) < len(names):
            raise PydanticCustomError("unknown_sort", "Names a field that cannot be sorted by.")
        return tuple(terms)

    described = f"Fields, `-` for descending: {', '.join(spec.sorts)}. Default "
    described += f"`{spec.default_sort}`" + (
        "; with `q` best match first." if spec.search and spec.search.rank else "."
    )
    field = Field((), description=described, json_schema_extra={"type": "string"})
    return Annotated[tuple[str, ...], BeforeValidator(parse)], field


def _validated(model: type[BaseModel], request: Request) -> dict[str, Any]:
    try:
        return dict(model.model_validate(dict(request.query_params)))
    except ValidationError as error:
        found = [{**each, "loc": ("query", *each["loc"])} for each in error.errors()]
        raise RequestValidationError(found) from None


def _refused(name: str, code: str, message: str) -> RequestValidationError:
    return RequestValidationError([{"type": code, "loc": ("query", name), "msg": message}])


def _json(content: str) -> Response:
    return Response(content, media_type="application/json")
