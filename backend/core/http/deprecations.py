"""Headers of deprecated routes: `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and `Link`.

    @router.get("/{id}/colour", dependencies=[deprecated(OLD_COLOUR)])

A route is also announced as deprecated if a member of its bodies is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

from fastapi import Depends
from fastapi.dependencies.models import Dependant
from starlette.requests import Request
from starlette.responses import Response

from backend.core.deprecation import Deprecation
from backend.core.http.resources import Handle, parts_of

Headers = list[tuple[bytes, bytes]]
# Readable for scripts of other origins where a route is deprecated; `Link` always is.
HEADERS = ("Deprecation", "Sunset")
_PREFIX = re.compile(r"^/api/v(\d+)/")


@dataclass(frozen=True)
class _Deprecated:
    """The declaration of a deprecated route, among its dependencies."""

    deprecation: Deprecation

    async def __call__(self) -> None:
        """Do nothing: `Route` reads the declaration."""


def deprecated(deprecation: Deprecation) -> Any:
    """Declare that a route is deprecated."""
    return Depends(_Deprecated(deprecation))


def deprecation_of(dependant: Dependant) -> Deprecation | None:
    calls = (dependency.call for dependency in dependant.dependencies)
    return next((call.deprecation for call in calls if isinstance(call, _Deprecated)), None)


def deprecations_in(*annotations: Any) -> list[Deprecation]:
    """Return the deprecations of members of these schemas, and of those inside."""
    marks = (part for part in parts_of(*annotations) if isinstance(part, Deprecation))
    return list(dict.fromkeys(marks))


def announcing(
    deprecations: Sequence[Deprecation], successor: int | None, handle: Handle
) -> Handle:
    """Return a handler whose responses, errors included, carry the headers.

    Of several deprecations the earliest dates count. `successor` is the version of the API that
    replaces the route.
    """
    headers = headers_of(deprecations)

    async def respond(request: Request) -> Response:
        request.scope["response_headers"] += headers
        if successor is not None:
            link = f'<{path_in(successor, request.scope["path"])}>; rel="successor-version"'
            request.scope["response_headers"].append((b"link", link.encode()))
        return await handle(request)

    return respond


def headers_of(deprecations: Sequence[Deprecation]) -> Headers:
    since = min(each.since for each in deprecations)
    headers = [(b"deprecation", b"@%d" % _midnight(since).timestamp())]
    if sunsets := [each.sunset for each in deprecations if each.sunset]:
        # An HTTP-date, always in GMT.
        sunset = format_datetime(_midnight(min(sunsets)), usegmt=True)
        headers.append((b"sunset", sunset.encode()))
    for info in dict.fromkeys(each.info for each in deprecations):
        headers.append((b"link", f'<{info}>; rel="deprecation"; type="text/html"'.encode()))
        if sunsets:
            headers.append((b"link", f'<{info}>; rel="sunset"; type="text/html"'.encode()))
    return headers


def path_in(version: int, path: str) -> str:
    """Return a path of a version of the API, such as `/api/v1/notes/1`, in another, escaped."""
    return quote(_PREFIX.sub(f"/api/v{version}/", path), safe="/:@!$&'()*+,;=~")


def version_in(path: str) -> int | None:
    """Return the version of the API that the path belongs to; None outside of all."""
    found = _PREFIX.match(path)
    return int(found[1]) if found else None


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
