"""Turns whatever was raised into an answer."""

import re
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from typing import Any

import psycopg
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from sqlalchemy import exc as sa
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from backend.core import errors
from backend.core.context import context_of
from backend.core.errors import AppError, FieldError
from backend.core.limits import RateLimitedError, set_refusal_headers
from backend.core.problems import problem_response
from backend.db.errors import (
    DatabaseUnavailableError,
    InvalidCursorError,
    TooManyReadsError,
    driver_error,
    is_unavailable,
)

log = structlog.get_logger()

_BY_STATUS: dict[int, type[AppError]] = {
    error.status: error
    for error in (
        errors.BadRequestError,
        errors.PermissionDeniedError,
        errors.NotFoundError,
        errors.MethodNotAllowedError,
        errors.NotAcceptableError,
        errors.PayloadTooLargeError,
        errors.UnsupportedMediaTypeError,
        errors.InvalidInputError,
        errors.InternalError,
        errors.ServiceUnavailableError,
    )
}
_CONFLICTS = psycopg.errors.UniqueViolation, psycopg.errors.ExclusionViolation
_REFERENCES = psycopg.errors.ForeignKeyViolation, psycopg.errors.RestrictViolation
# One voice for body and query. What pydantic says of some of these repeats a part of the input.
_SENTENCES = {
    "assertion_error": "Is not acceptable.",
    "extra_forbidden": "Unknown.",
    "missing": "Is required.",
    "model_attributes_type": "Must be an object.",
    "model_type": "Must be an object.",
    "string_pattern_mismatch": "Does not have the right form.",
    "string_too_long": "Must have at most {max_length} characters.",
    "string_too_short": "Must have at least {min_length} characters.",
    "string_type": "Must be a text.",
    "union_tag_invalid": "Is not acceptable.",
    "url_parsing": "Must be a URL.",
    "uuid_parsing": "Must be a UUID.",
    "value_error": "Is not acceptable.",
}


def install_error_handlers(app: FastAPI) -> None:
    for kind, handler in {
        AppError: _app_error,
        RequestValidationError: _validation_error,
        HTTPException: _http_exception,
        ClientDisconnect: _client_gone,
        InvalidCursorError: _invalid_cursor,
        TooManyReadsError: _too_many_reads,
        DatabaseUnavailableError: _database_error,
        sa.SQLAlchemyError: _database_error,
        psycopg.Error: _database_error,
    }.items():
        app.add_exception_handler(kind, handler)


def invalid_input(found: Sequence[Any]) -> errors.InvalidInputError:
    """pydantic's errors in the contract's form, without anything the client sent."""
    told = found[: errors.MAX_FIELD_ERRORS]
    return errors.InvalidInputError(
        errors=[_field_error(error) for error in told], errors_omitted=len(found) - len(told)
    )


def _field_error(error: Any) -> FieldError:
    parts = []
    for part in map(str, error["loc"]):
        if not errors.SAFE_NAME.fullmatch(part):
            break
        parts.append(part)
    if error["type"] == "json_invalid":
        parts = ["body"]
    sentence = _SENTENCES.get(error["type"])
    message = sentence.format(**error.get("ctx", {})) if sentence else error["msg"]
    return FieldError(field=".".join(parts), message=message, code=error["type"])


async def _app_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)
    if isinstance(error, errors.PermissionDeniedError):
        # The handler's transaction has been rolled back by now.
        try:
            await context_of(request).on_refusal(request)
        except (DatabaseUnavailableError, sa.SQLAlchemyError, psycopg.Error) as failure:
            return await _database_error(request, failure)
    if isinstance(error, RateLimitedError):
        set_refusal_headers(context_of(request), request.scope, error)
    return problem_response(request.scope, error)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(each["loc"][0] == "path" for each in found):
        return problem_response(request.scope, errors.NotFoundError())
    return problem_response(request.scope, invalid_input(found))


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code) or _unusual(error.status_code)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods_of(request))
    told = error.detail if error.status_code == HTTPStatus.BAD_REQUEST else None
    return problem_response(request.scope, kind(headers=headers), detail=told)


@cache
def _unusual(status: int) -> type[AppError]:
    """For what a library may raise: an error made of the status alone, once."""
    phrase = HTTPStatus(status).phrase
    code = re.sub(r"[^A-Z]+", "_", phrase.upper().replace("'", ""))
    return type(code, (AppError,), {"status": status, "code": code, "detail": phrase})


async def _client_gone(request: Request, _: Exception) -> Response:
    # Nobody hears this; it keeps a broken upload from being logged as our failure.
    return problem_response(request.scope, errors.BadRequestError())


def _methods_of(request: Request) -> list[str]:
    """All methods of the path. Each route of FastAPI knows only its own."""
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        path_regex = getattr(route, "path_regex", None)
        if path_regex and path_regex.match(request.scope["path"]):
            methods |= route.methods or set()
    # Without a route it is a folder of static files.
    return sorted(methods | {"HEAD"} if "GET" in methods else methods) or ["GET", "HEAD"]


async def _invalid_cursor(request: Request, _: Exception) -> Response:
    return problem_response(request.scope, errors.CursorRefusedError())


async def _too_many_reads(request: Request, _: Exception) -> Response:
    told = "Too many searches, counts or other expensive reads of yours at once; wait for some."
    return problem_response(request.scope, RateLimitedError(), detail=told)


async def _gone(request: Request) -> AppError:
    """What something refers to was deleted meanwhile; perhaps it is the caller's own account."""
    try:
        await context_of(request).authenticate(request)
    except AppError as refused:
        return refused
    return errors.ConflictError()


async def _database_error(request: Request, error: Exception) -> Response:
    if is_unavailable(error):
        log.warning("database_unavailable", reason=type(driver_error(error)).__name__)
        return problem_response(request.scope, errors.ServiceUnavailableError())
    refused = driver_error(error)
    if not isinstance(refused, psycopg.IntegrityError | psycopg.DataError):
        raise error
    answer: AppError = errors.InvalidInputError()
    if isinstance(refused, _CONFLICTS):
        answer = errors.ConflictError()
    elif isinstance(refused, _REFERENCES):
        answer = await _gone(request)
        if not isinstance(answer, errors.ConflictError):
            return problem_response(request.scope, answer)
    return problem_response(request.scope, answer, detail=_told_defect(request, refused, answer))


def _told_defect(request: Request, refused: psycopg.Error, answer: AppError) -> str | None:
    """Log that no check of the application refused a value; the detail, in development only.

    Neither repeats the value: PostgreSQL's own message often does.
    """
    found = refused.diag
    place = {"constraint": found.constraint_name, "table": found.table_name}
    place |= {"column": found.column_name, "type": found.datatype_name}
    known = {name: word for name, word in place.items() if word}
    reason = type(refused).__name__
    log.error("database_refused_value", reason=reason, sqlstate=refused.sqlstate, **known)
    if context_of(request).settings.environment != "development":
        return None
    named = ", ".join(f"{name} {word}" for name, word in known.items()) or "no constraint named"
    return (
        f"{answer.detail} Only the database refused this ({reason}, SQLSTATE {refused.sqlstate}; "
        f"{named}): check the value in the application, or translate the error in the service."
    )
