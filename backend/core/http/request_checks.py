"""Checks of a request's query and headers before its body is read."""

import re
from collections.abc import Iterable, Iterator

from fastapi.dependencies.models import Dependant
from starlette.requests import Request

from backend.core.client_info import header_lines
from backend.core.errors import (
    MAX_FIELD_ERRORS,
    SAFE_NAME,
    FieldError,
    InvalidInputError,
    UnsupportedMediaTypeError,
)

JSON_TYPES = frozenset({"application/json"})
JSON_RANGES = frozenset({"*/*", "application/*", *JSON_TYPES, "application/problem+json"})
# Further media types of an Accept header are ignored, because each takes time to parse.
MAX_RANGES = 100
_REFUSED = re.compile(r"(?:^|;)\s*q=0(?:\.0*)?\s*(?:;|$)")
_CHARSET = re.compile(r';\s*charset="?utf-?8"?\s*(?:;|$)', re.IGNORECASE)


def query_parameters(dependant: Dependant) -> Iterator[str]:
    """Yield the names of the query parameters of a route and of its dependencies."""
    for field in dependant.query_params:
        yield field.alias
    yield from getattr(dependant.call, "query_parameters", ())
    for dependency in dependant.dependencies:
        yield from query_parameters(dependency)


def check_query(request: Request, known: frozenset[str]) -> None:
    """Raise `InvalidInputError` for parameters that are unknown, given twice or contain NUL."""
    seen: set[str] = set()
    errors: list[FieldError] = []
    omitted = 0
    for name, value in request.query_params.multi_items():
        if name in known and name not in seen and "\0" not in value:
            seen.add(name)
        elif len(errors) < MAX_FIELD_ERRORS:
            errors.append(_query_error(name, known, seen))
        else:
            omitted += 1
    if errors:
        raise InvalidInputError(errors=errors, errors_omitted=omitted)


def _query_error(name: str, known: frozenset[str], seen: set[str]) -> FieldError:
    field = f"query.{name}" if SAFE_NAME.fullmatch(name) else "query"
    if name not in known:
        return FieldError(field=field, message="Unknown.", code="extra_forbidden")
    if name in seen:
        return FieldError(field=field, message="Given twice.", code="repeated")
    return FieldError(field=field, message="Must not contain NUL.", code="text_nul")


def check_content_type(request: Request, accepted: frozenset[str]) -> None:
    """Raise `UnsupportedMediaTypeError` unless the body is declared as `accepted`, in UTF-8."""
    header = request.headers.get("content-type")
    if header is None:
        has_body = request.headers.get("content-length", "0") != "0"
        if has_body or "transfer-encoding" in request.headers:
            raise UnsupportedMediaTypeError
        return
    media_type, separator, parameters = header.partition(";")
    if media_type.strip().lower() not in accepted:
        raise UnsupportedMediaTypeError
    if (
        separator
        and "charset" in parameters.lower()
        and not _CHARSET.search(separator + parameters)
    ):
        raise UnsupportedMediaTypeError


def check_content_coding(request: Request) -> None:
    """Raise `UnsupportedMediaTypeError` if the body has a Content-Encoding."""
    for line in header_lines(request.scope, b"content-encoding"):
        codings = line.decode("latin-1").split(",")
        if any(coding.strip().lower() not in ("", "identity") for coding in codings):
            raise UnsupportedMediaTypeError(headers={"Accept-Encoding": "identity"})


def ranges_of(media_types: Iterable[str]) -> frozenset[str]:
    """Return the media ranges in an Accept header that include one of these types."""
    declared = frozenset(media_types)
    return declared | {f"{name.partition('/')[0]}/*" for name in declared}


def accepts(accept: str, offered: frozenset[str]) -> bool:
    """Return whether the Accept header (RFC 9110, 12.5.1) includes an offered type."""
    for part in accept.lower().split(",", MAX_RANGES)[:MAX_RANGES]:
        media_type, _, parameters = part.partition(";")
        if media_type.strip() in offered and not _REFUSED.search(parameters):
            return True
    return False
