"""Exports of lists as CSV or NDJSON, streamed with constant memory.

A module exports its list `NOTES` with three lines:

    NoteExport = Annotated[ListExport, export_parameters(NOTES)]

    @router.get("/export", **EXPORT)
    async def export_notes(by: MayRead, reader: Reader, export: NoteExport) -> Response:
        return await export.respond(service.export_notes(reader, by, export.query))

where the service yields batches of rows, such as those of `core.lists.read_all`.
"""

import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import Depends
from pydantic import BaseModel, Field, create_model
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from backend.core.http.pagination import ListParameters, list_query, validated_query
from backend.core.lists import ListQuery, ResourceList

Format = Literal["csv", "ndjson"]
Batches = AsyncIterator[Sequence[BaseModel]]
MEDIA_TYPES: dict[Format, str] = {"csv": "text/csv", "ndjson": "application/x-ndjson"}
# A spreadsheet evaluates cells that begin with one of these.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# Parameters of pages, which an export does not have.
_PAGING = {"limit", "cursor", "offset", "total", "fields"}
_ATTACHMENT = {"Content-Disposition": {"description": "A file name.", "schema": {"type": "string"}}}
# The options of a route that returns an export.
EXPORT: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {
            "description": "All rows. An incomplete response ends with a broken connection.",
            "headers": _ATTACHMENT,
            "content": {
                "text/csv": {
                    "schema": {
                        "type": "string",
                        "description": "RFC 4180 in UTF-8, with a header row. Lists are separated "
                        "by `;`. A cell that begins with `=`, `+`, `-`, `@`, TAB or CR is preceded "
                        "by `'`, because spreadsheets would evaluate it.",
                    }
                },
                "application/x-ndjson": {
                    "schema": {
                        "type": "string",
                        "description": "One JSON object per line, as in the list.",
                    }
                },
            },
        }
    },
}
# The options of a route that returns a JSON document as a file.
JSON_FILE: dict[str, Any] = {"responses": {200: {"headers": _ATTACHMENT}}}


@dataclass(frozen=True)
class ListExport:
    """The export that a request asks for: its format, and the rows as `query`."""

    name: str
    schema: type[BaseModel]
    format: Format
    query: ListQuery

    async def respond(self, batches: Batches) -> Response:
        """Return a response with all rows; errors before the first batch are raised."""
        if self.format == "csv":
            chunks = _csv(list(self.schema.model_fields), batches)
        else:
            chunks = _ndjson(batches)
        media_type = MEDIA_TYPES[self.format]
        return await attachment(f"{self.name}.{self.format}", media_type, chunks)


class ExportParameters:
    """A dependency of routes of exports: parses the sort, search and filters of `spec`."""

    def __init__(self, spec: ResourceList[Any]) -> None:
        self.spec = spec
        self.filters = tuple(spec.filters)
        listed = ListParameters(spec, spec.schema).model
        parameters: dict[str, Any] = {
            "format": (Format, Field("csv", description="Format of the file.")),
            **{
                name: (field.annotation, field)
                for name, field in listed.model_fields.items()
                if name not in _PAGING
            },
        }
        self.model = create_model(f"{spec.schema.__name__}ExportQuery", **parameters)
        self.query_parameters = frozenset(self.model.model_fields)

    async def __call__(self, request: Request) -> ListExport:
        values = validated_query(self.model, request)
        query = list_query(
            request,
            sort=values["sort"],
            q=values.get("q"),
            filters={name: values[name] for name in self.filters if values[name] is not None},
        )
        name = self.spec.name.replace(" ", "-")
        return ListExport(name, self.spec.schema, values["format"], query)


def export_parameters(spec: ResourceList[Any]) -> Any:
    """Return the dependency for a parameter of the type `ListExport`, an export of `spec`."""
    return Depends(ExportParameters(spec))


async def attachment(name: str, media_type: str, chunks: AsyncIterator[bytes]) -> Response:
    """Return a response that streams `chunks` as a file, after the first of them exists.

    An error before that is an error response. A later one breaks the connection, so that an
    incomplete file does not look complete.
    """
    first = await anext(chunks, b"")

    async def content() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return StreamingResponse(
        content(),
        media_type=media_type,
        headers={
            "content-disposition": f'attachment; filename="{name}"',
            "cache-control": "no-store",
        },
    )


async def _csv(columns: Sequence[str], batches: Batches) -> AsyncIterator[bytes]:
    text = io.StringIO(newline="")
    writer = csv.writer(text)  # The defaults are those of RFC 4180.
    writer.writerow(columns)
    async for rows in batches:
        for row in rows:
            values = row.model_dump(mode="json")
            writer.writerow([_cell(values[name]) for name in columns])
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    if rest := text.getvalue():
        yield rest.encode()


def _cell(value: Any) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, list):
        text = ";".join(map(_cell, value))
    else:
        text = "" if value is None else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(_FORMULA) else text


async def _ndjson(batches: Batches) -> AsyncIterator[bytes]:
    async for rows in batches:
        yield b"".join(row.model_dump_json().encode() + b"\n" for row in rows)
