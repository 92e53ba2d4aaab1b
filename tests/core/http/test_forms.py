"""Forms keep the same rules as JSON bodies."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import FastAPI, File, Form, UploadFile
from pydantic import Field

from backend.core.authorization import public
from backend.core.errors import FieldError
from backend.core.http.body_checks import InvalidBody, also_checks
from backend.core.http.routing import Router
from backend.core.module import Module
from backend.core.registry import ordered
from backend.core.schemas import Email, Schema, Trimmed
from tests.actors import Client
from tests.applications import MODULES, make_app, make_context
from tests.sessions import LOGIN, outcome

URL_ENCODED = "application/x-www-form-urlencoded"
INVALID = (422, "VALIDATION_ERROR")
UNKNOWN, TWICE, NUL = "extra_forbidden", "repeated", "text_nul"
MODEL, FIELDS, FILES, BIG = (
    "/api/v1/made-forms/model",
    "/api/v1/made-forms/fields",
    "/api/v1/made-forms/files",
    "/api/v1/made-forms/big",
)


class Entry(Schema):
    title: Annotated[str, Trimmed(20)]
    email: Email | None = None
    tags: list[str] = Field(default_factory=list)


router = Router(prefix="/made-forms", tags=["made_forms"], dependencies=[public])


async def _titled(refused: InvalidBody) -> list[FieldError]:
    bad = refused.sent.get("title") == "bad"
    return [FieldError(field="body.title", message="Is bad.", code="bad")] if bad else []


@router.post("/model", dependencies=[also_checks(_titled)])
async def by_model(entry: Annotated[Entry, Form()]) -> Entry:
    """A form by its model."""
    return entry


@router.post("/fields")
async def by_fields(
    title: Annotated[str, Form(max_length=20)],
    count: Annotated[int, Form(ge=1)] = 1,
    tags: Annotated[list[str] | None, Form()] = None,
) -> dict[str, Any]:
    """A form by its fields."""
    return {"title": title, "count": count, "tags": tags or []}


@router.put("/files")
async def with_files(
    file: UploadFile,
    title: Annotated[str, Form()],
    more: Annotated[list[UploadFile] | None, File()] = None,
) -> dict[str, Any]:
    """A form with files."""
    read = await file.read()
    return {"size": len(read), "name": file.filename, "title": title, "more": len(more or ())}


@router.put("/big", max_body_size=3 * 1024 * 1024)
async def of_a_size_of_its_own(file: UploadFile) -> int:
    """A file up to the limit of the route."""
    return len(await file.read())


@pytest.fixture(scope="module")
def app() -> FastAPI:
    modules = ordered([*MODULES, Module(name="made_forms", router=router)])
    return make_app(make_context("postgresql://nowhere", modules), modules)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[Client]:
    async with Client(app) as made:
        yield made


def found(answer: httpx.Response) -> set[tuple[str, str]]:
    assert outcome(answer) == INVALID, answer.text
    return {(each["field"], each["code"]) for each in answer.json()["errors"]}


def encodings(pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the same form, urlencoded and as multipart."""
    parts = [(name, (None, value.encode())) for name, value in pairs]
    content = {"content": urlencode(pairs), "headers": {"Content-Type": URL_ENCODED}}
    return [content, {"files": parts}] if parts else [content]


@pytest.mark.parametrize("path", [MODEL, FIELDS])
async def test_a_form_is_read_in_either_encoding(client: Client, path: str) -> None:
    for sent in encodings([("title", "Tea é ✓"), ("tags", "a"), ("tags", "b")]):
        answer = await client.post(path, **sent)
        assert answer.status_code == 200, answer.text
        assert answer.json()["title"] == "Tea é ✓"
        assert answer.json()["tags"] == ["a", "b"]


@pytest.mark.parametrize("path", [MODEL, FIELDS])
@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], {("body.title", "missing")}),
        ([("title", "a"), ("title", "b")], {("body.title", TWICE)}),
        ([("title", "a"), ("colour", "red")], {("body.colour", UNKNOWN)}),
        ([("title", "a"), ("a colour", "red")], {("body", UNKNOWN)}),
        ([("title", "a\0")], {("body.title", NUL)}),
        ([("title", "a"), ("tags", "x"), ("tags", "\0")], {("body.tags", NUL)}),
        # All errors are reported together.
        (
            [("colour", "red"), ("colour", "red")],
            {("body.colour", UNKNOWN), ("body.title", "missing")},
        ),
        (
            [("title", "x" * 21), ("colour", "r")],
            {("body.colour", UNKNOWN), ("body.title", "string_too_long")},
        ),
    ],
)
async def test_what_json_may_not_a_form_may_not(
    client: Client, path: str, pairs: list[tuple[str, str]], expected: set[tuple[str, str]]
) -> None:
    for sent in encodings(pairs):
        assert found(await client.post(path, **sent)) == expected


async def test_rules_of_its_own_are_told_along(client: Client) -> None:
    for sent in encodings([("title", "bad"), ("email", "nope"), ("colour", "red")]):
        assert found(await client.post(MODEL, **sent)) == {
            *(("body.title", "bad"), ("body.email", "email"), ("body.colour", UNKNOWN))
        }


@pytest.mark.parametrize("path", [MODEL, FIELDS])
@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", 415),
        ("text/plain", 415),
        ("", 415),
        (f"{URL_ENCODED}; charset=latin-1", 415),
        (f"{URL_ENCODED}; charset=utf-16", 415),
        ("multipart/form-data; boundary=x; charset=latin-1", 415),
        ("multipart/mixed; boundary=x", 415),
        ("multipart/form-data", 400),
        (f"{URL_ENCODED}; charset=UTF-8", 200),
        (URL_ENCODED.upper(), 200),
    ],
)
async def test_content_types(client: Client, path: str, content_type: str, expected: int) -> None:
    headers = {"Content-Type": content_type}
    answer = await client.post(path, content=b"title=Tea", headers=headers)
    assert answer.status_code == expected, answer.text


async def test_a_body_without_a_content_type(client: Client) -> None:
    assert (await client.post(MODEL, content=b"title=Tea")).status_code == 415
    assert found(await client.post(MODEL)) == {("body.title", "missing")}


@pytest.mark.parametrize("path", [MODEL, FIELDS])
@pytest.mark.parametrize("text", [b"title=%FF", b"title=\xff", b"%ED%A0%80=x", b"title=%ED%A0%80"])
async def test_what_is_not_utf_8(client: Client, path: str, text: bytes) -> None:
    headers = {"Content-Type": URL_ENCODED}
    answer = await client.post(path, content=text, headers=headers)
    assert outcome(answer) == (400, "BAD_REQUEST")


async def test_parts_that_are_not_utf_8(client: Client) -> None:
    for value in (b"\xff", b"\xed\xa0\x80", "é".encode("latin-1")):
        answer = await client.post(MODEL, files=[("title", (None, value))])
        assert outcome(answer) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("path", [MODEL, FIELDS])
async def test_the_size_is_bounded(client: Client, path: str) -> None:
    for sent in encodings([("title", "x" * 2**20)]):
        answer = await client.post(path, **sent)
        assert outcome(answer) == (413, "PAYLOAD_TOO_LARGE")
    for many in ([("title", "x")] * 2000, [(f"f{number}", "x") for number in range(2000)]):
        for sent in encodings(many):
            assert outcome(await client.post(path, **sent)) == (400, "BAD_REQUEST")


async def test_unknown_fields_are_told_up_to_a_hundred(client: Client) -> None:
    for sent in encodings([("title", "x"), *((f"f{number}", "x") for number in range(900))]):
        problem = (await client.post(MODEL, **sent)).json()
        assert len(problem["errors"]) == 100
        assert problem["errors_omitted"] == 800


def part(name: str, content: bytes = b"x", filename: str = "a.txt") -> tuple[str, Any]:
    return name, (filename, content)


async def test_files(client: Client) -> None:
    title = ("title", (None, b"Tea"))
    good = await client.put(
        FILES, files=[part("file", b"12345"), title, part("more"), part("more")]
    )
    assert good.json() == {"size": 5, "name": "a.txt", "title": "Tea", "more": 2}
    for files, expected in (
        ([part("file"), part("file"), title], {("body.file", TWICE)}),
        ([part("file"), title, part("other")], {("body.other", UNKNOWN)}),
        ([part("file"), title, title], {("body.title", TWICE)}),
        ([part("other"), title], {("body.other", UNKNOWN), ("body.file", "missing")}),
        ([part("file"), part("title")], {("body.title", "string_type")}),
        ([("file", (None, b"x")), title], {("body.file", "value_error")}),
    ):
        assert found(await client.put(FILES, files=files)) == expected
    headers = {"Content-Type": URL_ENCODED}
    answer = await client.put(FILES, content=b"title=Tea", headers=headers)
    assert outcome(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")
    large = [part("file", b"x" * 2**20), title]
    assert outcome(await client.put(FILES, files=large)) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_size_of_its_own(client: Client) -> None:
    assert (await client.put(BIG, files=[part("file", b"x" * 2**21)])).json() == 2**21
    answer = await client.put(BIG, files=[part("file", b"x" * 2**22)])
    assert outcome(answer) == (413, "PAYLOAD_TOO_LARGE")


async def test_the_form_of_signing_in_tells_all_errors(client: Client) -> None:
    pairs = [("username", "a"), ("username", "b"), ("colour", "red")]
    for sent in encodings(pairs):
        assert found(await client.post(LOGIN, **sent)) == {
            ("body.username", TWICE), ("body.colour", UNKNOWN), ("body.password", "missing"),
        }  # fmt: skip
    for sent in encodings([("username", "a\0"), ("password", "x" * 129)]):
        expected = {("body.username", NUL), ("body.password", "string_too_long")}
        assert found(await client.post(LOGIN, **sent)) == expected


def test_its_document_names_the_media_types(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    for path, method, media_type in (
        (MODEL, "post", URL_ENCODED),
        (FIELDS, "post", URL_ENCODED),
        (FILES, "put", "multipart/form-data"),
    ):
        operation = paths[path][method]
        assert list(operation["requestBody"]["content"]) == [media_type]
        assert {"400", "413", "415", "422"} <= operation["responses"].keys()
