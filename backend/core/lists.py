"""Declaration of lists by modules, and reading of their pages."""

import re
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Generic, TypeVar, cast

import sqlalchemy as sa
from pydantic import BaseModel, BeforeValidator, Field
from pydantic_core import PydanticCustomError
from sqlalchemy import SQLColumnExpression
from sqlmodel import SQLModel

from backend.core.fast_json import json_of, json_of_rows
from backend.core.schemas import Schema
from backend.core.value_types import ZonedTime
from backend.db.lists.pages import RowPage, fetch_page
from backend.db.lists.specs import Column, Filter, ListQuery, ListSpec, Scope, Search
from backend.db.query_runner import QueryRunner, Row

__all__ = [
    "Boolean",
    "Integer",
    "ListQuery",
    "Page",
    "PageBody",
    "ResourceList",
    "ZonedTime",
    "created_filters",
    "list_spec",
    "read_all",
    "read_page",
    "select_fields",
]

# Rows of a batch of `read_all`; rendering them takes a few milliseconds.
BATCH = 500
T = TypeVar("T", bound=BaseModel)
S = TypeVar("S", bound=Schema)


class PageBody(Schema, Generic[T]):
    """A page of a collection."""

    # Its name in OpenAPI is that of the class with which handlers are annotated.
    __qualname__ = "Page"

    data: list[T]
    next_cursor: str | None = Field(None, description="Pass as `cursor` for the next page.")
    total: int | None = Field(None, description="Number of all matches; only with `total=true`.")

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        return f"Page[{params[0].__name__}]"


class Page(Generic[T]):
    """A page of a collection, as services return it; `PageBody` describes its JSON.

    The JSON of `of_rows` is written from the rows, which takes less than half the time; `data`
    makes schemas of them once it is read.
    """

    def __init__(
        self, data: list[T], next_cursor: str | None = None, total: int | None = None
    ) -> None:
        self.data = data
        self.next_cursor = next_cursor
        self.total = total
        self._rows: tuple[type[Schema], list[Row]] | None = None

    @classmethod
    def from_rows(cls, page: RowPage, to_schema: Callable[[Row], T]) -> "Page[T]":
        """Return a page of the schemas that `to_schema` makes of the rows."""
        return cls([to_schema(row) for row in page.rows], page.next_cursor, page.total)

    @classmethod
    def of_rows(cls, page: RowPage, schema: type[S]) -> "Page[S]":
        """Return a page of rows whose columns are the members of the schema."""
        made: Page[S] = Page.__new__(Page)
        made.next_cursor, made.total = page.next_cursor, page.total
        made._rows = schema, page.rows  # of this class
        return made

    @cached_property
    def data(self) -> list[T]:
        assert self._rows is not None
        schema, rows = self._rows
        return cast("list[T]", [schema.from_row(row) for row in rows])

    def body(self) -> PageBody[T]:
        members = {"data": self.data, "next_cursor": self.next_cursor, "total": self.total}
        return PageBody.from_row(members)

    def to_json(self) -> bytes:
        """Return the JSON of `body`."""
        # Once somebody has read `data`, they may have changed it.
        if self._rows is not None and "data" not in vars(self):
            schema, rows = self._rows
            others = {"next_cursor": self.next_cursor, "total": self.total}
            written = json_of_rows(schema, rows, others)
            if written is not None:
                return written
        return json_of(self.body())


def _integer(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,9}", value):
        raise PydanticCustomError("int_parsing", "Must be an integer.")
    return value


def _boolean(value: Any) -> Any:
    if isinstance(value, str) and value not in ("true", "false"):
        raise PydanticCustomError("bool_parsing", "Must be true or false.")
    return value


# The types of filters, as clients write them in a query, beside `ZonedTime`.
Integer = Annotated[int, BeforeValidator(_integer)]
Boolean = Annotated[bool, BeforeValidator(_boolean)]


@dataclass(frozen=True, eq=False, kw_only=True)
class ResourceList(ListSpec, Generic[S]):
    """A `ListSpec` whose rows have the columns of a schema."""

    schema: type[S]


def list_spec(
    model: type[SQLModel],
    schema: type[S],
    *,
    computed: Mapping[str, Collection[str]] | None = None,
    sorts: Iterable[Column] | Mapping[str, Column] | None = None,
    default_sort: str = "-created_at",
    filters: Mapping[str, Filter] | None = None,
    scopes: Mapping[str, Scope] | None = None,
    search: Search | None = None,
    large: Mapping[str, int] | None = None,
    unindexed: Mapping[str, str] | None = None,
    small: str = "",
) -> ResourceList[S]:
    """Declare a list of a table's rows; `ListSpec` explains the other arguments.

    The columns are the schema's fields, apart from those in `computed`, which the service adds.
    The table's primary key, of one column, breaks ties. A table with `created_at` can be filtered
    by it, and without `sorts` is sorted by it.
    """
    (key,) = sa.inspect(model).primary_key
    created_at = getattr(model, "created_at", None)
    if sorts is None:
        sorts = [] if created_at is None else [created_at]
    return ResourceList(
        name=str(model.__tablename__),
        schema=schema,
        statement=select_fields(model, schema, without=computed or ()),
        key=getattr(model, key.name),
        sorts=sorts if isinstance(sorts, Mapping) else {_name(item): item for item in sorts},
        default_sort=default_sort,
        filters={
            **(filters or {}),
            **({} if created_at is None else created_filters(created_at)),
        },
        scopes=scopes or {},
        search=search,
        large=large or {},
        computed=computed or {},
        unindexed=unindexed or {},
        small=small,
    )


def _name(column: Column) -> str:
    return str(cast("sa.Column[Any]", column).key)


def select_fields(
    model: type[SQLModel], schema: type[BaseModel], *, without: Collection[str] = ()
) -> sa.Select[*tuple[Any, ...]]:
    """Return a SELECT of the columns of `model` with the names of the schema's fields.

    Raise `TypeError` if a field is not a column, unless it is in `without`.
    """
    names = [name for name in schema.model_fields if name not in without]
    columns = sa.inspect(model).columns.keys()
    if unknown := [name for name in names if name not in columns]:
        raise TypeError(
            f"{schema.__name__} has fields that are not columns of {model.__name__}: "
            f"{', '.join(unknown)}. Name them in `computed`, and add them in the service."
        )
    return sa.select(*(getattr(model, name) for name in names))


def created_filters(column: SQLColumnExpression[datetime]) -> dict[str, Filter]:
    """Return the filters by time of creation."""
    return {
        "created_after": Filter(
            ZonedTime, lambda since: column >= since, "At or after this time.", span=True
        ),
        "created_before": Filter(
            ZonedTime, lambda until: column < until, "Before this time.", span=True
        ),
    }


async def read_page(
    reader: QueryRunner, spec: ResourceList[S], query: ListQuery, **scopes: Any
) -> Page[S]:
    """Read a page with the rows in the list's schema; see `fetch_page`."""
    page = await fetch_page(reader, spec, query, **scopes)
    return Page.of_rows(page, spec.schema)


async def read_all(
    reader: QueryRunner, spec: ListSpec, query: ListQuery, **scopes: Any
) -> AsyncIterator[list[Row]]:
    """Yield all rows from `query.cursor` on, in batches of at most `BATCH`; see `fetch_page`.

    Each batch is a statement of its own, so that a slow consumer holds neither a connection nor a
    snapshot. Rows that exist all the time are read exactly once if their sort keys do not change;
    with the newest first, rows that are added meanwhile are not read.
    """
    sort = query.sort or (spec.default_sort,)
    # The number of connections limits the batches in memory. A place would be held until the
    # handler returns, which a stream outlives.
    query = replace(query, limit=BATCH, offset=0, sort=sort, total=False, acquire_place=None)
    while True:
        page = await fetch_page(reader, spec, query, **scopes)
        if page.rows:
            yield page.rows
        if page.next_cursor is None:
            return
        query = replace(query, cursor=page.next_cursor)
