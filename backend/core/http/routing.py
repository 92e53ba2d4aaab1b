"""The router of every module: FastAPI's, with the contract's rules in front of each handler.

In this order, all before the body is read: who may call, what the client accepts, which query
parameters there are, the content type. Then the body, strictly.
"""

import re
from collections.abc import Callable, Coroutine, Iterator
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, params
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from backend.core.errors import (
    MAX_FIELD_ERRORS,
    SAFE_NAME,
    FieldError,
    InvalidInputError,
    NotAcceptableError,
    UnsupportedMediaTypeError,
)
from backend.core.http.bodies import MAX_BODY_BYTES, BodyRequest
from backend.core.http.body_rules import further_errors, rule_of
from backend.core.http.forms import (
    FORM_TYPES,
    MULTIPART,
    Form,
    FormRefusedError,
    form_parameters,
)
from backend.core.identity import Policy, policies

JSON_TYPES = frozenset({"application/json"})
PATCH_TYPES = JSON_TYPES | {"application/merge-patch+json"}
JSON_RANGES = frozenset({"*/*", "application/*", *JSON_TYPES, "application/problem+json"})
# Of an Accept header so many media types count; each costs some steps of Python.
MAX_RANGES = 100
_REFUSED = re.compile(r"(?:^|;)\s*q=0(?:\.0*)?\s*(?:;|$)")
_CHARSET = re.compile(r';\s*charset="?utf-?8"?\s*(?:;|$)', re.IGNORECASE)


class Route(APIRoute):
    """A route that admits a request before FastAPI sees it."""

    def __init__(self, *arguments: Any, max_body_size: int | None = None, **options: Any) -> None:
        # Not handed on: the 413 of FastAPI's own check is no problem document.
        self._body_limit = max_body_size or MAX_BODY_BYTES
        super().__init__(*arguments, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        policy = next(iter(policies(self.dependant)), Policy("signed in"))
        parameters = frozenset(query_parameters(self.dependant))
        body = self.body_field
        offered = JSON_RANGES | other_ranges(self.responses)
        may_have_content = bool((self.methods or set()) - {"GET", "HEAD"})
        media_types = self._media_types()
        form = None
        if body is not None and isinstance(body.field_info, params.Form):
            form = Form(form_parameters(self.dependant), self._embed_body_fields)
        limit = self._body_limit
        rule = rule_of(self.dependant)

        async def admit_then_handle(request: Request) -> Response:
            await policy.admit(request)
            accept = ",".join(request.headers.getlist("accept"))
            if accept and accept != "*/*" and not accepts(accept, offered):
                raise NotAcceptableError
            if request.scope["query_string"]:
                _check_query(request, parameters)
            if may_have_content:
                check_content_coding(request)
            if body is None:
                return await handle(request)
            check_content_type(request, media_types)
            try:
                with BodyRequest(request.scope, request.receive, limit=limit, form=form) as read:
                    return await handle(read)
            except FormRefusedError as refused:
                found, sent = refused.found, refused.sent
            except RequestValidationError as refused:
                found, sent = list(refused.errors()), refused.body
            if rule is not None:
                found += await further_errors(rule, request, found, sent)
            raise RequestValidationError(found)

        return admit_then_handle

    def _media_types(self) -> frozenset[str]:
        """Content types of the bodies that this route takes."""
        described = self.body_field.field_info if self.body_field else None
        if isinstance(described, params.File):
            return frozenset({MULTIPART})
        if isinstance(described, params.Form):
            return FORM_TYPES
        return PATCH_TYPES if "PATCH" in (self.methods or ()) else JSON_TYPES


class Router(APIRouter):
    """`APIRouter` whose routes follow the contract. The registry accepts no other."""

    def __init__(self, *, max_body_size: int | None = None, **options: Any) -> None:
        super().__init__(route_class=Route, redirect_slashes=False, **options)
        self._body_limit = max_body_size
        self._literal_prefix = self.prefix.partition("{")[0]

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if options.get("status_code") == HTTPStatus.NO_CONTENT:
            # FastAPI's own choice says `application/json` of no content.
            options["response_class"] = Response
        options["max_body_size"] = options.get("max_body_size") or self._body_limit
        super().add_api_route(path, endpoint, **options)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        # FastAPI tries every route of every router in turn. Without the router's prefix none fits.
        if self._literal_prefix not in scope["path"]:
            return Match.NONE, {}
        return super().matches(scope)


def query_parameters(dependant: Dependant) -> Iterator[str]:
    """Names of the query parameters a route takes, its dependencies' included."""
    for field in dependant.query_params:
        yield field.alias
    yield from getattr(dependant.call, "query_parameters", ())
    for dependency in dependant.dependencies:
        yield from query_parameters(dependency)


def _check_query(request: Request, known: frozenset[str]) -> None:
    seen: set[str] = set()
    found: list[FieldError] = []
    omitted = 0
    for name, value in request.query_params.multi_items():
        if name in known and name not in seen and "\0" not in value:
            seen.add(name)
        elif len(found) < MAX_FIELD_ERRORS:
            found.append(_query_error(name, known, seen))
        else:
            omitted += 1
    if found:
        raise InvalidInputError(errors=found, errors_omitted=omitted)


def _query_error(name: str, known: frozenset[str], seen: set[str]) -> FieldError:
    field = f"query.{name}" if SAFE_NAME.fullmatch(name) else "query"
    if name not in known:
        return FieldError(field=field, message="Unknown.", code="extra_forbidden")
    if name in seen:
        return FieldError(field=field, message="Given twice.", code="repeated")
    return FieldError(field=field, message="Must not contain NUL.", code="text_nul")


def check_content_type(request: Request, accepted: frozenset[str]) -> None:
    """Raise `UnsupportedMediaTypeError` for a body that does not say it is JSON in UTF-8."""
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
    """Raise `UnsupportedMediaTypeError` for a body that would have to be decoded first."""
    for line in request.headers.getlist("content-encoding"):
        if any(coding.strip().lower() not in ("", "identity") for coding in line.split(",")):
            raise UnsupportedMediaTypeError(headers={"Accept-Encoding": "identity"})


def other_ranges(responses: dict[int | str, dict[str, Any]]) -> frozenset[str]:
    """What may be asked for beside JSON, of the media types a route declares for its success."""
    declared = {
        media_type
        for status, response in responses.items()
        if str(status)[0] in "2dD"  # 200, "200", "2XX", "default"
        for media_type in response.get("content") or ()
    }
    return frozenset(declared) | {f"{name.partition('/')[0]}/*" for name in declared}


def accepts(accept: str, offered: frozenset[str]) -> bool:
    """False only where the Accept header (RFC 9110, 12.5.1) excludes all that is offered."""
    for part in accept.lower().split(",", MAX_RANGES)[:MAX_RANGES]:
        media_type, _, parameters = part.partition(";")
        if media_type.strip() in offered and not _REFUSED.search(parameters):
            return True
    return False
