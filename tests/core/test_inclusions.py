"""Inclusions: the sentences of the registry, and what modules of their own may do with them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest

from backend.core.authorization import CurrentPrincipal
from backend.core.context import Context, Inclusion
from backend.core.http.dependencies import Reader
from backend.core.http.inclusions import Included, include_parameter
from backend.core.http.routing import Router
from backend.core.lists import ListQuery, Page
from backend.core.module import Module
from backend.core.registry import RegistryError, ordered
from backend.core.schemas import Schema
from backend.db.read_limits import PerCallerLimiter
from tests.actors import ActorFactory
from tests.applications import MODULES, make_app

router = Router(prefix="/made-shelves", tags=["made_shelves"])


class Shelf(Schema):
    id: UUID
    name: str


class Cup(Schema):
    colour: str


async def load(reader: Any, by: Any, id: UUID, query: ListQuery) -> Page[Cup]:
    """Return a page as if it could be large."""
    assert query.acquire_place is not None
    await query.acquire_place()
    return Page(data=[Cup(colour=f"{id} é")], next_cursor="more", total=None)


@router.get("/{id}")
async def read_shelf(
    id: UUID,
    by: CurrentPrincipal,
    reader: Reader,
    include: Annotated[Included, include_parameter("made_shelves")],
) -> Shelf:
    if include:
        await include.load(reader, by, id)
    return Shelf(id=id, name="Top")


SHELVES = Module("made_shelves", router)
CUPS, BOWLS = (Inclusion("made_shelves", name, Cup, load) for name in ("cups", "bowls"))


def dishes(*inclusions: Inclusion, name: str = "made_dishes") -> Module:
    return Module(name, depends_on=("made_shelves",), inclusions=inclusions)


WALLS = replace(CUPS, of="made_walls")
TAKEN = "of 'made_shelves', but module '{}' has a member of that name already: choose another one."
MISSING = ", which has no route with the parameter `include`: add one; see "
MISSING += "backend.core.http.inclusions."


@pytest.mark.parametrize(
    ("modules", "sentence"),
    [
        ([dishes(WALLS)], "'cups' of 'made_walls', which does not exist."),
        (
            [Module("made_dishes", inclusions=(CUPS,))],
            "'cups' of 'made_shelves': add 'made_shelves' to its depends_on.",
        ),
        (
            [
                Module("made_walls"),
                Module("made_dishes", depends_on=("made_walls",), inclusions=(WALLS,)),
            ],
            f"'cups' of 'made_walls'{MISSING}",
        ),
        ([dishes(CUPS, name="china"), dishes(CUPS)], f"'cups' {TAKEN.format('china')}"),
        ([dishes(CUPS, CUPS)], f"'cups' {TAKEN.format('made_dishes')}"),
        ([dishes(replace(CUPS, name="name"))], f"'name' {TAKEN.format('made_shelves')}"),
    ],
)
def test_a_wrong_inclusion_stops_the_start(modules: list[Module], sentence: str) -> None:
    with pytest.raises(RegistryError) as caught:
        ordered([SHELVES, *modules])
    assert str(caught.value) == f"Module 'made_dishes' has the inclusion {sentence}"


@pytest.fixture
async def cast(context: Context) -> AsyncIterator[ActorFactory]:
    modules = ordered([*MODULES, SHELVES, dishes(CUPS, BOWLS)])
    inclusions = tuple(each for module in modules for each in module.inclusions)
    # One place, so that a request that waited for a second one would fail.
    changed = replace(context, inclusions=inclusions, large_pages=PerCallerLimiter(1, 0.2))
    made = ActorFactory(make_app(changed, modules), context)
    async with made.stack:
        yield made


async def test_several_inclusions_at_once(cast: ActorFactory) -> None:
    ada, id = await cast(), str(uuid4())
    page = {"data": [{"colour": f"{id} é"}], "next_cursor": "more", "total": None}
    shelf = {"id": id, "name": "Top"}
    for include, expected in (
        ("cups", {**shelf, "cups": page}),
        ("bowls", {**shelf, "bowls": page}),
        ("bowls,cups", {**shelf, "cups": page, "bowls": page}),
    ):
        answer = await ada.get(f"/api/v1/made-shelves/{id}", params={"include": include})
        assert answer.json() == expected
    assert (await ada.get(f"/api/v1/made-shelves/{id}")).json() == shelf


async def test_each_resource_has_inclusions_of_its_own(cast: ActorFactory) -> None:
    ada = await cast()
    for path, include in (
        ("users", "cups"),
        ("made-shelves", "items"),
        ("made-shelves", "cups,items"),
    ):
        answer = await ada.get(f"/api/v1/{path}/{ada.id}", params={"include": include})
        assert answer.status_code == 422


def test_without_inclusions_there_is_no_parameter(context: Context) -> None:
    document = make_app(context, ordered([*MODULES, SHELVES])).openapi()
    operation = document["paths"]["/api/v1/made-shelves/{id}"]["get"]
    assert [each["name"] for each in operation["parameters"]] == ["id", "fields", "If-None-Match"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema["$ref"].endswith("/Shelf")
