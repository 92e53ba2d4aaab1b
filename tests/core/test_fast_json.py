"""`json_of` writes the bytes that pydantic writes."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, Self
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, computed_field, field_serializer

from backend.core.fast_json import _conversion_of, json_of, json_of_rows
from backend.core.lists import Page, PageBody
from backend.core.schemas import Bulk, Schema, Timestamp
from backend.db.lists.pages import RowPage
from backend.modules.users.schemas import AvatarPath, MeOut, UserOut
from tests.samples import optional

ID = UUID("0197a8c8-1111-7000-8000-000000000000")


class Maker(Schema):
    id: UUID
    name: str | None


class Named(Schema):
    name: str


class Cup(Schema):
    """One member of each type that is written without pydantic, and some of the others."""

    id: UUID
    title: str
    size: int
    is_clean: bool
    note: str | None = None
    status: Literal["new", "used"]
    tags: list[str]
    maker: Maker | None
    makers: list[Maker]
    made_at: Timestamp
    broken_at: Timestamp | None
    picture: AvatarPath | None


texts = st.text(st.characters(exclude_categories=["Cs"]))
makers = st.builds(Maker.model_construct, id=st.uuids(), name=st.none() | texts)
zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), UTC])
times = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=zones)  # noqa: DTZ001
whole_seconds = times.map(lambda time: time.replace(microsecond=0))
moments = times | whole_seconds
cups = st.builds(
    Cup.model_construct,
    id=st.uuids(),
    title=texts,
    size=st.integers(-(2**63), 2**63) | st.just(2**70),
    is_clean=st.booleans(),
    note=st.none() | texts,
    status=st.sampled_from(["new", "used"]),
    tags=st.lists(texts),
    maker=st.none() | makers,
    makers=st.lists(makers),
    made_at=moments,
    broken_at=st.none() | moments,
    picture=st.sampled_from([None, "/files/a"]),
)


@settings(max_examples=150, deadline=None)
@given(cup=cups)
def test_all_types_have_the_same_bytes(cup: Cup) -> None:
    page = PageBody.model_construct(data=[cup, cup], next_cursor=None, total=3)
    for body in (cup, page, Bulk[Cup].model_construct(data=[cup])):
        assert json_of(body) == body.model_dump_json().encode()


@settings(max_examples=150, deadline=None)
@given(cup=cups)
def test_rows_have_the_bytes_of_schemas(cup: Cup) -> None:
    rows = [{**vars(cup), "maker": None, "makers": []}] * 2
    page = Page.of_rows(RowPage(rows, "c", None), Cup)
    assert page.to_json() == page.body().model_dump_json().encode()


def test_rows_need_no_schemas_unless_a_member_is_converted() -> None:
    row = {"id": ID, "name": "Ada"}
    rows, others = [row, row], {"next_cursor": None, "total": 2}
    body = PageBody(data=[Maker.from_row(row)] * 2, total=2)
    assert json_of_rows(Maker, rows, others) == body.model_dump_json().encode()
    assert json_of_rows(Maker, [], {"next_cursor": None}) == b'{"data":[],"next_cursor":null}'
    assert json_of_rows(Doubled, [{"size": 2}], others) is None
    assert json_of_rows(Renamed, [{"size": 2}], others) is None


class Masked(Schema):
    name: str

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        return cls(name=row["name"][0])


def test_rows_that_a_schema_or_a_service_changes_are_written_as_changed() -> None:
    rows = RowPage([{"name": "Ada"}, {"name": "Bob"}], None, None)
    assert b'[{"name":"A"},{"name":"B"}]' in Page.of_rows(rows, Masked).to_json()
    filtered, edited = (Page.of_rows(rows, Named) for _ in range(2))
    filtered.data = filtered.data[1:]
    edited.data[0].name = "Eve"
    assert b'[{"name":"Bob"}]' in filtered.to_json()
    assert b'[{"name":"Eve"},{"name":"Bob"}]' in edited.to_json()


@pytest.mark.parametrize(
    "row", [{"name": "Ada", "id": ID}, {"id": ID, "name": None, "secret": "s"}, {"id": ID}]
)
def test_other_columns_are_not_written(row: dict[str, Any]) -> None:
    assert json_of_rows(Maker, [row], {}) is None


USUAL = (
    optional("items.schemas", "ItemOut"),
    optional("articles.schemas", "ArticleOut"),
    MeOut,
    UserOut,
    PageBody,
    Cup,
)


@pytest.mark.parametrize("kind", [*filter(None, USUAL)])
def test_the_usual_bodies_need_no_pydantic(kind: type[BaseModel]) -> None:
    assert _conversion_of(kind) is not None


class Colour(StrEnum):
    RED = "r"


class Doubled(Schema):
    size: int

    @field_serializer("size")
    def double(self, size: int) -> int:
        return 2 * size


class Summed(Schema):
    size: int

    @computed_field
    def twice(self) -> int:
        return 2 * self.size


class Renamed(Schema):
    size: int = Field(serialization_alias="n")


class Hidden(Schema):
    size: int
    secret: str = Field("x", exclude=True)


class MakerWithSecret(Maker):
    secret: str


class Made(Schema):
    maker: Maker
    makers: list[Maker]


class Caching(Schema):
    size: int

    @cached_property
    def twice(self) -> int:
        return 2 * self.size


def with_cached_property() -> Caching:
    body = Caching(size=2)
    assert body.twice == 4
    return body


class Node(Schema):
    name: str
    children: list["Node"]


OTHERS: dict[str, BaseModel] = {
    "serializer": Doubled(size=2),
    "computed": Summed(size=2),
    "alias": Renamed(size=2),
    "excluded": Hidden(size=2),
    "subclass": Made(
        maker=MakerWithSecret(id=ID, name=None, secret="s"),
        makers=[MakerWithSecret(id=ID, name=None, secret="s")],
    ),
    "cached property": with_cached_property(),
    "incomplete": Maker.model_construct(id=ID),  # type: ignore[call-arg]  # on purpose
    "recursive": Node(name="a", children=[Node(name="b", children=[])]),
}
VALUES: list[tuple[Any, Any]] = [
    (float, 1e16),
    (Decimal, Decimal("1.50")),
    (Colour, Colour.RED),
    (dict[str, int], {"a": 1}),
    (datetime, datetime(2026, 1, 1, tzinfo=UTC)),
    (timedelta, timedelta(seconds=1)),
    (bytes, b"a"),
    (tuple[int, ...], (1, 2)),
    (int | str, "1"),
    (Any, {"a": [1.5]}),
]


@pytest.mark.parametrize("kind", OTHERS)
def test_other_schemas_are_left_to_pydantic(kind: str) -> None:
    body = OTHERS[kind]
    assert "secret" not in body.model_dump_json()
    assert json_of(body) == body.model_dump_json().encode()
    page = PageBody.model_construct(data=[body], next_cursor="a", total=None)
    assert json_of(page) == page.model_dump_json().encode()


@pytest.mark.parametrize(("annotation", "value"), VALUES)
def test_other_types_are_left_to_pydantic(annotation: Any, value: Any) -> None:
    kind: Any = type("Box", (Schema,), {"__annotations__": {"value": annotation}})
    body = kind.model_construct(value=value)
    assert json_of(body) == body.model_dump_json().encode()
