"""Routes of the usual form are called by a plan; all others work as with FastAPI alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import fastapi.routing
import httpx
import psycopg
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError

from backend.core.authorization import public
from backend.core.errors import NotFoundError
from backend.core.http.route_plan import exit_stack_of
from backend.core.http.routing import Router
from backend.core.module import Module
from backend.core.schemas import Id, Schema
from tests.actors import BASE_URL, Actor
from tests.applications import make_app, make_context

ID = "6f1f4c1e-0000-7000-8000-000000000000"
calls: list[str] = []


class Mug(Schema):
    name: str
    seen: tuple[str, ...] = ()


async def counted(request: Request) -> str:
    calls.append(request.url.path)
    return f"call {len(calls)}"


async def closing() -> AsyncIterator[str]:
    yield "opened"
    calls.append("closed")


def in_a_thread() -> str:
    return "thread"


async def nested(value: Annotated[str, Depends(in_a_thread)]) -> str:
    return f"nested {value}"


async def from_header(x_mug: Annotated[str, Header()]) -> str:
    return x_mug


Counted = Annotated[str, Depends(counted)]
Again = Annotated[str, Depends(counted, use_cache=False)]
router = Router(prefix="/made-mugs", tags=["made_mugs"], dependencies=[public])


@router.get("/planned/{id}")
async def read_planned(id: Id, one: Counted, two: Counted, again: Again, response: Response) -> Mug:
    response.headers["X-Mug"] = str(id)
    return Mug(name="planned", seen=(one, two, again))


@router.post("/planned", status_code=201, location="/made-mugs/{name}", idempotent=False)
async def create_planned(new: Mug, one: Counted) -> Mug:
    return Mug(name=new.name, seen=(one,))


@asynccontextmanager
async def resource() -> AsyncIterator[None]:
    try:
        yield
    except NotFoundError:
        calls.append("failed")
        raise
    calls.append("closed")


@router.get("/using/{kind}")
async def read_using(kind: str, request: Request) -> Mug:
    if kind == "copied":
        # Starlette copies the scope where it passes a request on.
        request = Request({**request.scope})
    if kind != "nothing":
        await exit_stack_of(request.scope).enter_async_context(resource())
    if kind == "failing":
        raise NotFoundError
    calls.append("has a stack" if request.scope.get("planned_stacks") else "has none")
    return Mug(name=kind)


ERRORS: dict[str, Exception] = {
    "own": NotFoundError(),
    "http": HTTPException(413, headers={"X-Mug": "broken"}),
    "validation": RequestValidationError([{"type": "x", "loc": ("body", "a"), "msg": "No."}]),
    "database": psycopg.OperationalError("gone"),
    "unknown": ValueError("secret"),
}


@router.get("/failing/{kind}")
async def read_failing(kind: str) -> Mug:
    raise ERRORS[kind]


OTHERS: dict[str, Any] = {
    "closing": (closing, "opened"),
    "sync": (in_a_thread, "thread"),
    "nested": (nested, "nested thread"),
    "header": (from_header, "blue"),
}


def add_other(kind: str) -> None:
    @router.get(f"/{kind}")
    async def read_other(value: Annotated[str, Depends(OTHERS[kind][0])]) -> Mug:
        return Mug(name=kind, seen=(value,))


for each in OTHERS:
    add_other(each)
MUGS = Module("made_mugs", router=router)


@pytest.fixture
def mugs_app() -> FastAPI:
    return make_app(make_context("postgresql:///nothing"), [MUGS])


@pytest.fixture
async def mugs(mugs_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    calls.clear()
    transport = httpx.ASGITransport(app=mugs_app)
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as made:
        yield made


@pytest.fixture
def without_fastapi(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every request fail for which FastAPI would solve dependencies or add its layers."""
    monkeypatch.delattr(fastapi.routing, "solve_dependencies")
    monkeypatch.delattr(fastapi.routing, "wrap_app_handling_exceptions")


@pytest.mark.usefixtures("without_fastapi")
async def test_frequent_requests_have_plans(ada: Actor) -> None:
    created = await ada.post("/api/v1/items", json={"title": "Tea"})
    assert created.status_code == 201
    for path in ("/users/me", "/items", f"/items/{created.json()['id']}"):
        assert (await ada.get(f"/api/v1{path}")).status_code == 200


@pytest.mark.usefixtures("without_fastapi")
async def test_a_plan_calls_each_dependency_once(mugs: httpx.AsyncClient) -> None:
    answer = await mugs.get(f"/api/v1/made-mugs/planned/{ID}")
    assert answer.json() == {"name": "planned", "seen": ["call 1", "call 1", "call 2"]}
    assert answer.headers["x-mug"] == ID
    created = await mugs.post("/api/v1/made-mugs/planned", json={"name": "red"})
    assert created.json() == {"name": "red", "seen": ["call 3"]}


@pytest.mark.usefixtures("without_fastapi")
async def test_a_plan_validates_the_path_and_the_body(mugs: httpx.AsyncClient) -> None:
    assert (await mugs.get("/api/v1/made-mugs/planned/one")).status_code == 404
    for body, status in ((b'{"name": 1}', 422), (b"{", 400), (b"", 422)):
        headers = {"Content-Type": "application/json"}
        answer = await mugs.post("/api/v1/made-mugs/planned", content=body, headers=headers)
        assert answer.status_code == status
    # As with FastAPI, the dependencies are called before the values are validated, but after the
    # body has been parsed.
    assert calls == ["/api/v1/made-mugs/planned/one"] * 2 + ["/api/v1/made-mugs/planned"] * 2


@pytest.mark.parametrize("kind", ERRORS)
async def test_errors_are_answered_as_with_fastapi(
    mugs_app: FastAPI, mugs: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async def answer() -> tuple[int, dict[str, Any], dict[str, str]]:
        response = await mugs.get(f"/api/v1/made-mugs/failing/{kind}")
        body = response.json()
        del body["request_id"], body["timestamp"], response.headers["x-request-id"]
        return response.status_code, body, dict(response.headers)

    with monkeypatch.context() as planned:
        planned.delattr(fastapi.routing, "wrap_app_handling_exceptions")
        found = await answer()
    # Any override makes FastAPI solve the dependencies.
    monkeypatch.setitem(mugs_app.dependency_overrides, counted, in_a_thread)
    assert found == await answer()
    assert "secret" not in str(found)


@pytest.mark.parametrize("kind", OTHERS)
async def test_other_dependencies_work(mugs: httpx.AsyncClient, kind: str) -> None:
    answer = await mugs.get(f"/api/v1/made-mugs/{kind}", headers={"X-Mug": "blue"})
    assert answer.json() == {"name": kind, "seen": [OTHERS[kind][1]]}
    assert calls == ["closed"] * (kind == "closing")


async def test_dependencies_can_be_overridden(
    mugs_app: FastAPI, mugs: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The applications of these tests share their overrides.
    monkeypatch.setitem(mugs_app.dependency_overrides, counted, in_a_thread)
    answer = await mugs.get(f"/api/v1/made-mugs/planned/{ID}")
    assert answer.json()["seen"] == ["thread"] * 3


@pytest.mark.usefixtures("without_fastapi")
@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("nothing", 200, ["has none"]),
        ("something", 200, ["has a stack", "closed"]),
        ("copied", 200, ["has a stack", "closed"]),
        ("failing", 404, ["failed"]),
    ],
)
async def test_a_plan_closes_what_a_handler_enters(
    mugs: httpx.AsyncClient, kind: str, status: int, expected: list[str]
) -> None:
    assert (await mugs.get(f"/api/v1/made-mugs/using/{kind}")).status_code == status
    assert calls == expected


async def test_fastapi_closes_what_a_handler_enters(
    mugs_app: FastAPI, mugs: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Any override makes FastAPI solve the dependencies.
    monkeypatch.setitem(mugs_app.dependency_overrides, counted, in_a_thread)
    assert (await mugs.get("/api/v1/made-mugs/using/copied")).status_code == 200
    assert calls == ["has none", "closed"]


def test_a_stack_that_nothing_closes_is_refused() -> None:
    with pytest.raises(KeyError, match="planned_stacks"):
        exit_stack_of({"type": "http"})
