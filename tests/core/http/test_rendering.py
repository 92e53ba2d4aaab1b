"""The router renders responses from the return values of handlers."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Request, Response
from starlette.responses import HTMLResponse

from backend.core.authorization import public
from backend.core.http.pagination import list_parameters, list_query
from backend.core.http.routing import Router
from backend.core.lists import Page, list_spec, select_fields
from backend.core.module import Module
from backend.core.schemas import Schema
from backend.db.lists.specs import ListQuery
from tests.applications import make_app, make_context
from tests.samples import sample

Item = sample("items.models", "Item")
ItemOut = sample("items.schemas", "ItemOut")

router = Router(prefix="/made-cups", tags=["made_cups"], dependencies=[public])


class Cup(Schema):
    name: str
    size: int
    parts: tuple[str, ...] = ()


class Title(Schema):
    title: str


TITLES = list_spec(Item, Title)
CUP = Cup(name="blue & white", size=3)


@router.get("")
async def list_cups(
    response: Response, query: Annotated[ListQuery, list_parameters(TITLES)]
) -> Page[Title]:
    response.headers["X-Limit"] = str(query.limit)
    return Page(data=[Title(title="one"), Title(title="two")], next_cursor="c", total=None)


@router.get("/{name}/{size}")
async def read_cup(name: str, size: int, response: Response) -> Cup:
    response.headers["X-Name"] = name
    response.status_code = 203
    return Cup(name=name, size=size)


@router.post("", status_code=201, location=read_cup, idempotent=False)
async def create_cup(new: Cup) -> Cup:
    return new


@router.post(
    "/saucers",
    status_code=201,
    location="/saucers/{name}",
    idempotent=False,
    response_model=Cup,
)
async def create_saucer(request: Request, response: Response) -> Cup | Response:
    response.set_cookie("saucer", "1")
    return CUP if request.url.query == "" else Response(status_code=202)


@router.post("/pages", status_code=201, idempotent=False)
async def create_page(new: Title) -> Page[Title]:
    return Page(data=[new, new])


@router.get("/page", response_class=HTMLResponse)
async def cup_page() -> str:
    return "<p>Cup</p>"


@router.get("/chosen")
async def chosen_page(request: Request) -> Title:
    query = list_query(request, limit=7, sort=("title",))
    return Title(title=f"{query.limit} {query.sort} {len(query.cursor_key)} {query.caller}")


hidden = Router(prefix="/made-hidden", dependencies=[public], development_only=True)


@hidden.get("")
async def hidden_cup() -> Cup:
    return CUP


MADE = (Module("made_cups", router), Module("made_hidden", hidden))


@pytest.fixture(params=["development", "staging"])
async def called(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    # These tests need no database.
    hosts = {"environment": request.param, "allowed_hosts": ("testserver",)}
    context = make_context("postgresql://127.0.0.1:1/none", rate_limit_enabled=False, **hosts)
    transport = httpx.ASGITransport(make_app(context, MADE))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


async def test_a_page_has_selected_fields_a_link_and_the_handlers_headers(
    called: httpx.AsyncClient,
) -> None:
    answer = await called.get("/api/v1/made-cups?limit=2&fields=title")
    assert answer.json() == {
        "data": [{"title": "one"}, {"title": "two"}],
        "next_cursor": "c",
        "total": None,
    }
    link = '</api/v1/made-cups?limit=2&fields=title&cursor=c>; rel="next"'
    assert (answer.headers["link"], answer.headers["x-limit"]) == (link, "2")
    assert answer.headers["content-type"] == "application/json"


async def test_another_method_may_return_a_page(called: httpx.AsyncClient) -> None:
    response = await called.post("/api/v1/made-cups/pages", json={"title": "one"})
    assert response.status_code == 201
    two = [{"title": "one"}, {"title": "one"}]
    assert response.json() == {"data": two, "next_cursor": None, "total": None}


def test_a_created_page_is_stored_for_repeated_requests() -> None:
    """As any other response; so the handler needs a session."""
    with pytest.raises(TypeError, match="no parameter of the type Session"):
        Router(prefix="/made-more").post("", status_code=201)(create_page)


async def test_a_resource_has_selected_fields_and_what_the_handler_sets(
    called: httpx.AsyncClient,
) -> None:
    answer = await called.get("/api/v1/made-cups/tall/3?fields=name,size")
    assert answer.status_code == 203
    assert answer.json() == {"name": "tall", "size": 3}
    assert answer.headers["x-name"] == "tall"
    unknown = await called.get("/api/v1/made-cups/tall/3?fields=colour")
    assert unknown.status_code == 422


async def test_what_is_created_is_at_the_path_of_its_handler(called: httpx.AsyncClient) -> None:
    answer = await called.post("/api/v1/made-cups/", json={"name": "blue & white", "size": 3})
    assert answer.status_code == 201
    assert answer.headers["location"] == "/api/v1/made-cups/blue%20%26%20white/3"
    assert answer.json() == {"name": "blue & white", "size": 3, "parts": []}


async def test_a_location_may_be_a_path_of_another_module(called: httpx.AsyncClient) -> None:
    answer = await called.post("/api/v1/made-cups/saucers")
    assert (answer.status_code, answer.headers["location"]) == (
        201,
        "/api/v1/saucers/blue%20%26%20white",
    )
    assert answer.headers["set-cookie"].startswith("saucer=1")


async def test_a_response_class_makes_a_route_accept_its_type(called: httpx.AsyncClient) -> None:
    page = await called.get("/api/v1/made-cups/page", headers={"Accept": "text/html"})
    assert (page.status_code, page.text) == (200, "<p>Cup</p>")
    refused = await called.get("/api/v1/made-cups/page", headers={"Accept": "image/png"})
    assert refused.status_code == 406
    other = await called.get("/api/v1/made-cups/chosen", headers={"Accept": "text/html"})
    assert other.status_code == 406


async def test_a_handler_makes_a_query_of_its_own(called: httpx.AsyncClient) -> None:
    answer = await called.get("/api/v1/made-cups/chosen")
    assert answer.json() == {"title": "7 ('title',) 32 127.0.0.1"}


async def test_routes_for_development_do_not_exist_elsewhere(called: httpx.AsyncClient) -> None:
    status = (await called.get("/api/v1/made-hidden")).status_code
    local = called._transport.app.state.context.settings.is_local  # type: ignore[attr-defined]
    assert status == (200 if local else 404)
    if not local:
        assert (await called.delete("/api/v1/made-hidden")).status_code == 404


async def returns_text() -> str:
    return ""


async def returns_a_title() -> Title:
    return Title(title="")


@pytest.mark.parametrize(
    ("handler", "location", "sentence"),
    [
        (
            returns_text,
            "/made-cups/{name}",
            "returns_text has the location /made-cups/{name}, but does not",
        ),
        (returns_a_title, "/made-cups/{name}", "but Title has no name"),
        (
            returns_a_title,
            list_cups,
            "list_cups is not a handler of this router, or is defined below.",
        ),
        (
            returns_a_title,
            "/made-cups/{title}",
            "returns_a_title has no parameter of the type Session",
        ),
    ],
)
def test_a_location_that_cannot_be_is_refused_at_definition(
    handler: Callable[[], Coroutine[Any, Any, object]], location: Any, sentence: str
) -> None:
    with pytest.raises(TypeError, match=sentence.replace("{", r"\{")):
        Router().post("", status_code=201, location=location)(handler)


def test_a_field_that_is_no_column_is_refused_at_definition() -> None:
    with pytest.raises(TypeError, match=r"Cup has fields that are not columns of Item: name, size"):
        select_fields(Item, Cup)
    found = select_fields(Item, ItemOut, without=("title",))
    assert [each.key for each in found.selected_columns] == [
        *("id", "description", "owner_id", "created_at", "updated_at")
    ]
