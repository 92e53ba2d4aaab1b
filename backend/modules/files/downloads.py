"""Responses with the content of a file, or with a range of it."""

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from backend.core.context import context_of
from backend.core.preconditions import is_not_modified
from backend.modules.files import service
from backend.modules.files.content_types import disposition
from backend.modules.files.exceptions import RangeNotSatisfiableError
from backend.modules.files.schemas import File

# One range, as every client asks for; several may be answered with everything (RFC 9110, 14.2).
_RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.IGNORECASE)
# The address is not reused for another content. Deleted files leave shared caches after a day.
_PUBLIC, _PRIVATE = "public, max-age=86400, immutable", "private, no-cache"
# A browser runs nothing and loads nothing, also if it takes the content for another type.
_SANDBOX = "default-src 'none'; frame-ancestors 'none'; sandbox"
_RANGE_HEADERS = {
    name: {"description": text, "schema": {"type": "string"}}
    for name, text in {
        "Accept-Ranges": "`bytes`.",
        "Content-Disposition": "`inline` for images, else `attachment`, with the file's name.",
        "ETag": "The content at an address never changes.",
    }.items()
}
_CONTENT = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "headers": _RANGE_HEADERS, "content": _CONTENT},
    206: {"description": "The range.", "headers": _RANGE_HEADERS, "content": _CONTENT},
    304: {"description": "Not modified."},
}


async def download(request: Request, file: File) -> Response:
    """Return the file, the range that the request asks for, or 304."""
    tag = f'"{file.key}"'
    headers = {
        "accept-ranges": "bytes",
        "cache-control": _PUBLIC if file.is_public else _PRIVATE,
        "content-disposition": disposition(file.content_type, file.filename),
        "content-security-policy": _SANDBOX,
        "etag": tag,
    }
    if is_not_modified(tag.encode()):
        return Response(status_code=304, headers=headers)
    status, start, end = 200, 0, file.size
    found = _range(request.headers, tag, file.size)
    if found is not None:
        status, (start, end) = 206, found
        headers["content-range"] = f"bytes {start}-{end - 1}/{file.size}"
    headers["content-length"] = str(end - start)
    if start == end or request.scope.get("is_head"):
        return Response(status_code=status, headers=headers, media_type=file.content_type)
    stream = await service.read_file(context_of(request), file, start, end)
    return StreamingResponse(stream, status, headers, file.content_type)


def _range(headers: Mapping[str, str], tag: str, size: int) -> tuple[int, int] | None:
    """Return start and end of the requested range, or None for the whole file.

    Raise `RangeNotSatisfiableError` if the file has no byte of the range.
    """
    match = _RANGE.fullmatch(headers.get("range", ""))
    if match is None or headers.get("if-range", tag) != tag:
        return None
    first, last = match.groups()
    if not (first or last) or (first and last and int(first) > int(last)):
        return None
    start = int(first) if first else max(0, size - int(last))
    if start >= size or (not first and not int(last)):
        raise RangeNotSatisfiableError(headers={"Content-Range": f"bytes */{size}"})
    return start, min(int(last) + 1, size) if first and last else size
