"""Responses that are compressed by the application, where COMPRESSION_ENABLED says so."""

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import AsyncIterator, Callable

import brotli  # type: ignore[import-untyped]  # it has no types
import httpx
import pytest
import zstandard
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Message

from backend.core.authorization import public
from backend.core.http.middleware.compression import PART_BYTES, CompressionMiddleware
from backend.core.http.routing import Route, Router
from backend.core.module import Module
from tests import databases
from tests.actors import BASE_URL, Actor, ActorFactory
from tests.applications import MODULES, make_app, make_context

API = "/api/v1"
DECODE: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
    "br": brotli.decompress,
    "gzip": gzip.decompress,
}
# The same for the beginning of a body.
START: dict[str, Callable[[bytes], bytes]] = {
    **DECODE,
    "br": lambda body: brotli.Decompressor().process(body),
    "gzip": lambda body: zlib.decompressobj(31).decompress(body),
}
TEXT = "All work and no play makes Jack a dull boy. " * 200
LONG = {"text": "".join(f"line {number}, " for number in range(100_000))}

made = Router(prefix="/made-bodies", tags=["made_bodies"], dependencies=[public])
secret = Router(prefix="/made-secret", dependencies=[public], carries_secrets=True)


@made.get("/long")
async def long() -> Response:
    return JSONResponse(LONG)


@made.get("/cookie")
async def cookie() -> Response:
    response = JSONResponse({"text": TEXT})
    response.set_cookie("name", "value")
    return response


@made.get("/csrf")
async def csrf() -> Response:
    return JSONResponse({"text": TEXT}, headers={"X-CSRF-Token": "value"})


@made.get("/file")
async def file() -> Response:
    return Response(TEXT, media_type="text/plain", headers={"Accept-Ranges": "bytes"})


@made.get("/part")
async def part() -> Response:
    headers = {"Content-Range": f"bytes 0-{len(TEXT) - 1}/{2 * len(TEXT)}"}
    return Response(TEXT, 206, media_type="text/plain", headers=headers)


@made.get("/compressed")
async def compressed() -> Response:
    body = gzip.compress(TEXT.encode() * 10, compresslevel=0)
    return Response(body, media_type="text/plain", headers={"Content-Encoding": "gzip"})


@made.get("/image")
async def image() -> Response:
    return Response(TEXT, media_type="image/png")


@made.get("/stream")
async def stream() -> Response:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield TEXT.encode()

    return StreamingResponse(parts(), media_type="text/csv")


@secret.get("")
async def token() -> Response:
    return JSONResponse({"token": TEXT})


secret.include_router(made)
secret_module = Module("made_secret", router=secret, versioned=False)
made_module = Module("made_bodies", router=made, versioned=False)


def raw_client(app: FastAPI, **headers: str) -> httpx.AsyncClient:
    """A client whose responses are read as they were sent."""
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url=BASE_URL, headers=headers)


@pytest.fixture(scope="module")
async def actors(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Actor, httpx.AsyncClient]]:
    with databases.cloned_database(databases.server_url(request.config)) as url:
        context = make_context(url, compression_enabled=True)
        context.state.started = True
        app = make_app(context)
        factory = ActorFactory(app, context)
        async with factory.stack:
            actor = await factory("ada")
            async with raw_client(app, Authorization=f"Bearer {actor.token}") as raw:
                yield actor, raw
        await context.database.close()


@pytest.fixture
def ada(actors: tuple[Actor, httpx.AsyncClient]) -> Actor:
    return actors[0]


@pytest.fixture
def raw(actors: tuple[Actor, httpx.AsyncClient]) -> httpx.AsyncClient:
    """A client of the same user."""
    return actors[1]


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client of routes that need no database."""
    context = make_context("postgresql://127.0.0.1:1/none", compression_enabled=True)
    app = make_app(context, [*MODULES, made_module, secret_module])
    async with raw_client(app) as anonymous:
        yield anonymous


async def fetched(
    client: httpx.AsyncClient, path: str, coding: str, method: str = "GET", **headers: str
) -> tuple[httpx.Headers, bytes]:
    """Return the headers, and the body as it was sent."""
    headers = {"Accept-Encoding": coding, **headers}
    async with client.stream(method, path, headers=headers) as response:
        return response.headers, b"".join([part async for part in response.aiter_raw()])


async def new_item(ada: Actor, text: str = TEXT) -> str:
    response = await ada.post(f"{API}/items", json={"title": "Jack", "description": text})
    assert response.status_code == 201
    return str(response.headers["location"])


@pytest.mark.parametrize("coding", DECODE)
async def test_a_list_is_compressed_as_the_client_accepts(
    coding: str, ada: Actor, raw: httpx.AsyncClient
) -> None:
    await new_item(ada)
    path = f"{API}/items?limit=1"
    plain_headers, plain = await fetched(raw, path, "identity")
    headers, body = await fetched(raw, path, f"deflate, {coding};q=0.5")
    assert headers["content-encoding"] == coding
    assert DECODE[coding](body) == plain
    assert int(headers["content-length"]) == len(body) < len(plain) // 10
    assert "content-encoding" not in plain_headers
    for each in (headers, plain_headers):
        assert "Accept-Encoding" in each["vary"]


@pytest.mark.parametrize("sent", ["", "identity", "gzip;q=0, br;q=0", "deflate", "*;q=0"])
async def test_a_client_that_accepts_none_gets_none(sent: str, client: httpx.AsyncClient) -> None:
    headers, body = await fetched(client, "/made-bodies/long", sent)
    assert "content-encoding" not in headers
    assert json.loads(body) == LONG


async def test_small_responses_stay_as_they_are(ada: Actor, raw: httpx.AsyncClient) -> None:
    path = await new_item(ada, "Tea")
    headers, _ = await fetched(raw, path, "gzip")
    assert "content-encoding" not in headers
    assert re.fullmatch(r'"[\w-]{24}"', headers["etag"])


@pytest.mark.parametrize("coding", DECODE)
async def test_tags_are_strong_name_the_coding_and_stand_for_one_resource(
    coding: str, ada: Actor, raw: httpx.AsyncClient
) -> None:
    path = await new_item(ada)
    plain, _ = await fetched(raw, path, "identity")
    headers, body = await fetched(raw, path, coding)
    assert headers["content-encoding"] == coding
    assert DECODE[coding](body)
    tag, own = plain["etag"], headers["etag"]
    assert own == f'{tag[:-1]}-{coding}"'
    assert headers["vary"] == "Authorization, Cookie, Accept-Encoding"
    for sent in (tag, own, f"W/{own}", f'"other", {own}'):
        response = await ada.get(path, headers={"Accept-Encoding": coding, "If-None-Match": sent})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == (tag if sent == tag else own)
        assert "Accept-Encoding" in response.headers["vary"]
    for sent, status in ((own, 200), (tag, 200), (f"W/{own}", 412), (f'{tag[:-1]}-deflate"', 412)):
        response = await ada.patch(path, json={}, headers={"If-Match": sent})
        assert response.status_code == status, sent


async def test_head_has_the_headers_of_get(
    ada: Actor, raw: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    path = await new_item(ada)
    for caller, address in (
        (raw, path),
        (client, "/made-bodies/long"),
        (client, "/made-bodies/stream"),
    ):
        of_get, _ = await fetched(caller, address, "br")
        of_head, body = await fetched(caller, address, "br", method="HEAD")
        differing = {"x-request-id"}
        assert body == b""
        assert of_get["content-encoding"] == "br"
        assert {k: v for k, v in of_get.items() if k not in differing} == {
            k: v for k, v in of_head.items() if k not in differing
        }


@pytest.mark.parametrize(
    "path",
    [
        "/made-secret",
        "/made-bodies/cookie",
        "/made-bodies/csrf",
        "/made-bodies/file",
        "/made-bodies/part",
        "/made-bodies/image",
    ],
)
async def test_secrets_ranges_and_images_stay_as_they_are(
    path: str, client: httpx.AsyncClient
) -> None:
    headers, body = await fetched(client, path, "gzip, br, zstd")
    assert "content-encoding" not in headers
    assert TEXT.encode() in body


async def test_what_is_compressed_already_stays_as_it_is(client: httpx.AsyncClient) -> None:
    headers, body = await fetched(client, "/made-bodies/compressed", "gzip, br, zstd")
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == TEXT.encode() * 10


@pytest.mark.parametrize("coding", DECODE)
async def test_long_bodies_and_streams_arrive_whole(coding: str, client: httpx.AsyncClient) -> None:
    assert len(json.dumps(LONG)) > 10 * PART_BYTES
    headers, body = await fetched(client, "/made-bodies/long", coding)
    assert headers["content-encoding"] == coding
    assert json.loads(DECODE[coding](body)) == LONG
    headers, body = await fetched(client, "/made-bodies/stream", coding)
    assert headers["content-encoding"] == coding
    assert DECODE[coding](body) == TEXT.encode() * 10


@pytest.mark.parametrize("coding", DECODE)
async def test_the_first_part_is_sent_before_the_second_exists(coding: str) -> None:
    """The layer is called directly: the client above reads whole responses only."""
    sent: list[bytes] = []
    sent_before: list[bytes] = []

    async def parts() -> AsyncIterator[bytes]:
        yield b"id,title\r\n"
        sent_before.append(b"".join(sent))
        yield b"1,Tea\r\n"

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    scope = {
        "type": "http",
        "method": "GET",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "headers": [(b"accept-encoding", coding.encode())],
        "response_headers": [],
    }
    response = StreamingResponse(parts(), media_type="text/csv")
    await CompressionMiddleware(response, lambda _: False)(scope, receive, send)
    assert DECODE[coding](b"".join(sent)) == b"id,title\r\n1,Tea\r\n"
    assert START[coding](sent_before[0]) == b"id,title\r\n"


def test_responses_with_tokens_are_declared(app: FastAPI) -> None:
    routes = {
        str(found.path_format): found.original_route
        for found in iter_route_contexts(app.routes)
        if isinstance(found.original_route, Route)
    }
    declared = {path for path, route in routes.items() if route.carries_secrets}
    expected = {path for path in routes if re.match(r"/api/v\d+/auth|/dev/mailbox", path)}
    assert f"{API}/auth/login" in expected
    assert declared == expected


def test_there_is_no_layer_without_the_setting(app: FastAPI) -> None:
    layers = [getattr(each.cls, "__name__", "") for each in app.user_middleware]
    assert "NormalizePathMiddleware" in layers
    assert CompressionMiddleware.__name__ not in layers
