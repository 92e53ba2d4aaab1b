"""`RouteIndex` chooses the route that FastAPI's router would choose."""

from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from httpx import ASGITransport, AsyncClient

from backend.core.context import Context
from backend.core.http.route_index import RouteIndex
from tests.applications import make_app

GET, POST = ["GET"], ["POST"]
# In the order of declaration: earlier routes hide later ones.
ROUTES = [
    ("/things/{id:uuid}", GET),
    ("/things/{id}", GET),
    ("/things/late", GET),
    ("/things", GET),
    ("/things", POST),
    ("/{kind}/first", GET),
    ("/things/{id}/parts/{part}", POST),
    ("/things/{id}.png", GET),
    ("/tree/{path:path}", GET),
    ("/tree/leaf/x", GET),
    ("/leaf/first", GET),
    ("/numbers/{n:int}", GET),
    ("/", GET),
]
UUID = "0197a8c8-1111-7000-8000-000000000000"
PATHS = [
    f"/things/{UUID}",
    "/things/late",
    "/things",
    "/things/",
    "/things/a.png",
    "/things/a/parts/b",
    "/things/a/parts",
    "/things/first",
    "/leaf/first",
    "/tree/a/b",
    "/tree/",
    "/tree/leaf/x",
    "/numbers/1",
    "/numbers/x",
    "/",
    "//",
    "/things//late",
    "/none",
]


def application() -> FastAPI:
    app, inner, outer = FastAPI(), APIRouter(), APIRouter(prefix="/outer")
    for number, (path, methods) in enumerate(ROUTES):
        for router in (app.router, inner):
            router.add_api_route(path, _handler(number), methods=methods)
    outer.include_router(inner, prefix="/{tenant}")
    app.include_router(outer)
    app.mount("/mounted", FastAPI())
    return app


def _handler(number: int) -> Any:
    async def handle() -> int:
        return number

    return handle


async def called(app: Any, method: str, path: str) -> tuple[int, str, dict[str, Any]]:
    scopes: list[dict[str, Any]] = []

    async def remembering(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await app(scope, receive, send)

    async with AsyncClient(transport=ASGITransport(remembering), base_url="http://t") as client:
        response = await client.request(method, path)
    kept = {name: scopes[0].get(name) for name in ("path_params", "endpoint", "route")}
    return response.status_code, response.text, kept


@pytest.mark.parametrize("prefix", ["", "/outer/acme"])
async def test_it_chooses_as_fastapi_does(prefix: str) -> None:
    by_fastapi = application()
    indexed = application()
    asked = []

    async def others(scope: Any, receive: Any, send: Any) -> None:
        asked.append((scope["method"], scope["path"]))
        await indexed.router.app(scope, receive, send)

    indexed.middleware_stack = RouteIndex(indexed, others, is_local=True)
    for path in PATHS:
        for method in ("GET", "POST", "DELETE"):
            expected = await called(by_fastapi, method, prefix + path)
            status, text, scope = await called(indexed, method, prefix + path)
            assert (status, text) == expected[:2], (method, path)
            assert scope["path_params"] == expected[2]["path_params"], (method, path)
            if status == 200:
                assert (method, prefix + path) not in asked
                assert scope["endpoint"] is not None
                assert scope["route"].path == expected[2]["route"].path


async def test_routes_added_later_work() -> None:
    app = application()
    app.middleware_stack = RouteIndex(app, app.router, is_local=True)
    app.add_api_route("/later", _handler(99))
    assert (await called(app, "GET", "/later"))[1] == "99"
    assert (await called(app, "GET", "/mounted/openapi.json"))[0] == 200


async def test_the_application_uses_it(app: FastAPI) -> None:
    layer: Any = app.build_middleware_stack()
    while hasattr(layer, "app"):
        layer = layer.app
    assert isinstance(layer, RouteIndex)


async def handle_nothing(_request: Request, _error: Exception) -> Response:
    return Response(status_code=418)


@pytest.mark.parametrize("kind", [404, Exception])
def test_error_handlers_are_for_classes(kind: Any) -> None:
    app = application()
    app.add_exception_handler(kind, handle_nothing)
    with pytest.raises(TypeError, match="must be a coroutine function"):
        RouteIndex(app, app.router, is_local=True)


async def test_middleware_and_handlers_can_be_added_before_the_start(context: Context) -> None:
    app = make_app(context, [])
    app.add_exception_handler(LookupError, handle_nothing)
    app.add_api_route("/lost", _losing)
    seen: list[str] = []

    def noting(inner: Any) -> Any:
        async def note(scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope["path"])
            await inner(scope, receive, send)

        return note

    app.add_middleware(noting)
    assert (await called(app, "GET", "/lost"))[0] == 418
    assert seen == ["/lost"]


async def _losing() -> None:
    raise LookupError
