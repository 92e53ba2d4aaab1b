"""Files that are streamed: their format, and where errors become visible."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import psycopg
import pytest
from starlette.responses import Response

from backend.core.authorization import public
from backend.core.context import LARGE_PAGES
from backend.core.errors import ServiceUnavailableError
from backend.core.http.dependencies import Reader
from backend.core.http.exports import EXPORT, Format, ListExport, attachment, export_parameters
from backend.core.http.routing import Router
from backend.core.lists import ListQuery, read_all
from backend.core.module import Module
from backend.core.schemas import Schema
from tests.actors import Actor
from tests.applications import make_app, make_context
from tests.samples import sample
from tests.servers import serving

ITEMS = sample("items.queries", "ITEMS")
ItemOut = sample("items.schemas", "ItemOut")

LIMIT = 0.3
router = Router(prefix="/made-files")
started: list[str] = []
EMPTY: list[list[Schema]] = []


class Cell(Schema):
    text: str | None
    flag: bool = True
    names: tuple[str, ...] = ()


@router.get("/late-error", dependencies=[public], **EXPORT)
async def late_error() -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"text\r\n"
        raise ServiceUnavailableError

    return await attachment("cells.csv", "text/csv", chunks())


@router.get("/early-error", dependencies=[public], **EXPORT)
async def early_error() -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        if LIMIT:
            raise ServiceUnavailableError
        yield b""

    return await attachment("cells.csv", "text/csv", chunks())


@router.get("/long", dependencies=[public], **EXPORT)
async def long() -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(4):
            started.append(str(number))
            yield f"{number}\r\n".encode()
            await asyncio.sleep(LIMIT / 2)

    return await attachment("cells.csv", "text/csv", chunks())


@router.get("/list", dependencies=[public], **EXPORT)
async def listed(export: Annotated[ListExport, export_parameters(ITEMS)]) -> Response:
    async def batches() -> AsyncIterator[list[Schema]]:
        for batch in EMPTY:
            yield batch

    return await export.respond(batches())


@router.get("/items", dependencies=[public], **EXPORT)
async def items(
    export: Annotated[ListExport, export_parameters(ITEMS)], reader: Reader
) -> Response:
    async def batches() -> AsyncIterator[list[Schema]]:
        async for rows in read_all(reader, ITEMS, export.query):
            yield [ItemOut.from_row(row) for row in rows]

    return await export.respond(batches())


MODULE = Module(name="made_files", router=router)


@asynccontextmanager
async def files(database_url: str, **settings: Any) -> AsyncIterator[str]:
    made = make_context(database_url, (MODULE,), **settings)
    made.state.started = True
    async with serving(make_app(made, (MODULE,))) as served:
        yield f"{served}/api/v1/made-files"
    await made.database.close()


@pytest.fixture
async def url(database_url: str) -> AsyncIterator[str]:
    async with files(database_url) as served:
        yield served


async def file_of(kind: Format, *batches: list[Cell]) -> str:
    async def given() -> AsyncIterator[list[Cell]]:
        for batch in batches:
            yield batch

    export = ListExport("cells", Cell, kind, ListQuery(b""))
    response = await export.respond(given())
    sent: list[bytes] = []

    async def send(message: dict[str, bytes]) -> None:
        sent.append(message.get("body", b""))

    scope = {"type": "http", "asgi": {"spec_version": "2.4"}}
    await response(scope, None, send)  # type: ignore[arg-type]  # a part of ASGI suffices
    return b"".join(sent).decode()


async def test_csv_is_that_of_the_standard() -> None:
    texts = ["plain", 'a "quote"', "a,b", "two\r\nlines", "a\nb", "a\rb", "Zoë 🎉", "", None]
    text = await file_of("csv", [Cell(text=each) for each in texts[:5]], [Cell(text="x")])
    assert text.startswith("text,flag,names\r\nplain,true,\r\n")
    assert '"a ""quote""",true,\r\n"a,b",true,\r\n"two\r\nlines",true,\r\n' in text
    text = await file_of("csv", [Cell(text=each) for each in texts])
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert [row[0] for row in rows[1:]] == [each or "" for each in texts]
    assert all(len(row) == 3 for row in rows)


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
async def test_no_cell_is_a_formula(first: str) -> None:
    text = await file_of("csv", [Cell(text=f"{first}1+1", names=(f"{first}x", "y"))])
    (row,) = list(csv.reader(io.StringIO(text, newline=""), strict=True))[1:]
    assert row == [f"'{first}1+1", "true", f"'{first}x;y"]
    harmless = await file_of("csv", [Cell(text=f"1{first}1")])
    assert f"1{first}1" in harmless
    assert "'" not in harmless


async def test_without_rows_the_header_row_remains() -> None:
    assert await file_of("csv") == "text,flag,names\r\n"
    assert await file_of("ndjson") == ""


async def test_ndjson_has_one_object_per_line() -> None:
    text = await file_of("ndjson", [Cell(text="=a\nb"), Cell(text=None)], [Cell(text="c")])
    assert text.endswith("\n")
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["text"] for row in rows] == ["=a\nb", None, "c"]
    assert rows[0] == {"text": "=a\nb", "flag": True, "names": []}


async def test_lists_that_may_have_long_texts_are_exported_whole(
    url: str, ada: Actor, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO items (id, title, description, owner_id, created_at, updated_at)"
            " SELECT gen_random_uuid(), i, 'long', %s,"
            " now() - i * interval '1 s', now() FROM generate_series(1, 600) AS i",
            [ada.id],
        )
    async with httpx.AsyncClient(timeout=60) as client:
        # More at once than pages that may be large.
        responses = await asyncio.gather(
            *(client.get(f"{url}/items?format=ndjson") for _ in range(LARGE_PAGES + 1))
        )
    for response in responses:
        titles = [json.loads(line)["title"] for line in response.text.splitlines()]
        assert titles == [str(number) for number in range(1, 601)]


async def test_an_error_before_the_first_byte_is_an_error_response(url: str) -> None:
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{url}/early-error")
    assert response.status_code == 503
    assert response.json()["error"] == "SERVICE_UNAVAILABLE"
    assert "content-disposition" not in response.headers


async def test_a_later_error_breaks_the_connection(url: str) -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked"):
            await client.get(f"{url}/late-error")


async def test_the_time_limit_of_requests_does_not_end_a_file(database_url: str) -> None:
    limited = files(database_url, request_timeout=LIMIT)
    async with limited as url, httpx.AsyncClient() as client:
        response = await client.get(f"{url}/long")
    assert response.text == "0\r\n1\r\n2\r\n3\r\n"


async def test_head_reads_only_the_first_rows(url: str) -> None:
    started.clear()
    async with httpx.AsyncClient() as client:
        response = await client.head(f"{url}/long")
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["content-disposition"] == 'attachment; filename="cells.csv"'
        await asyncio.sleep(LIMIT * 3)
        assert started == ["0"]
        assert (await client.get(f"{url}/list")).status_code == 200


@pytest.mark.parametrize(
    ("query", "media_type", "name"),
    [
        ("", "text/csv; charset=utf-8", "items.csv"),
        ("?format=csv&q=milk&sort=-title", "text/csv; charset=utf-8", "items.csv"),
        (
            "?format=ndjson&sort=title",
            "application/x-ndjson",
            "items.ndjson",
        ),
    ],
)
async def test_the_parameters_of_an_export(
    url: str, query: str, media_type: str, name: str
) -> None:
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{url}/list{query}")
    assert response.status_code == 200
    assert response.headers["content-type"] == media_type
    assert response.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "query", ["format=xml", "format=CSV", "format=csv&format=csv", "limit=5", "cursor=x", "sort=id"]
)
async def test_other_parameters_are_refused(url: str, query: str) -> None:
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{url}/list?{query}")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == f"query.{query.partition('=')[0]}"


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/csv", 200),
        ("text/*", 200),
        ("application/x-ndjson", 200),
        ("application/json", 200),
        ("*/*", 200),
        ("image/png", 406),
        ("text/html, image/*", 406),
    ],
)
async def test_accept_may_name_the_types_of_an_export(url: str, accept: str, status: int) -> None:
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{url}/list", headers={"Accept": accept})
    assert response.status_code == status
