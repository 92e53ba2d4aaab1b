"""Exception handlers: each translates an exception into a problem document."""

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
from backend.core.limits import (
    CONCURRENT_READS,
    RateLimitedError,
    count_refusal,
    set_refusal_headers,
)
from backend.core.metrics import record_database_error
from backend.core.problems import problem_response
from backend.core.status_phrases import phrase_of
from backend.db.errors import (
    DatabaseUnavailableError,
    InvalidCursorError,
    TooManyReadsError,
    driver_error,
    is_unavailable,
)
from backend.db.troubles import database_trouble

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
# Of a schema that lacks migrations.
_UNDEFINED = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedObject,
)
# The same messages for body and query. Some of pydantic's own messages contain input.
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


def invalid_input(type_errors: Sequence[Any]) -> errors.InvalidInputError:
    """Translate errors of pydantic into an error of the contract, without any input."""
    shown = type_errors[: errors.MAX_FIELD_ERRORS]
    return errors.InvalidInputError(
        errors=[_field_error(error) for error in shown],
        errors_omitted=len(type_errors) - len(shown),
    )


def _field_error(error: Any) -> FieldError:
    parts = []
    for part in map(str, error["loc"]):
        if not errors.SAFE_NAME.fullmatch(part):
            break
        parts.append(part)
    if error["type"] == "json_invalid":
        parts = ["body"]
    context = error.get("ctx", {})
    sentence = _SENTENCES.get(error["type"])
    if error["type"] == "string_too_short" and context["min_length"] == 1:
        sentence = "Must not be blank."
    message = sentence.format(**context) if sentence else error["msg"]
    return FieldError(field=".".join(parts), message=message, code=error["type"])


async def _app_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)
    if isinstance(error, errors.PermissionDeniedError):
        # The handler's transaction has been rolled back before.
        try:
            await context_of(request).on_refusal(request)
        except (DatabaseUnavailableError, sa.SQLAlchemyError, psycopg.Error) as failure:
            return await _database_error(request, failure)
    if isinstance(error, RateLimitedError):
        set_refusal_headers(context_of(request), request.scope, error)
    if isinstance(error, errors.ConflictError) and error.__cause__ is not None:
        record_database_error(context_of(request), error.__cause__)
        log.warning("database_conflict", **database_trouble(error.__cause__))
    return problem_response(request.scope, error)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    type_errors = error.errors()
    if any(item["loc"][0] == "path" for item in type_errors):
        return problem_response(request.scope, errors.NotFoundError())
    return problem_response(request.scope, invalid_input(type_errors))


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code) or _unusual(error.status_code)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods_of(request))
    detail = error.detail if error.status_code == HTTPStatus.BAD_REQUEST else None
    return problem_response(request.scope, kind(headers=headers), detail=detail)


@cache
def _unusual(status: int) -> type[AppError]:
    """Return an error class for a status that only a library raises."""
    phrase = phrase_of(status)
    code = re.sub(r"[^A-Z]+", "_", phrase.upper().replace("'", ""))
    return type(code, (AppError,), {"status": status, "code": code, "detail": phrase})


async def _client_gone(request: Request, _: Exception) -> Response:
    # No client receives it, but a broken upload is not logged as a server error.
    return problem_response(request.scope, errors.BadRequestError())


def _methods_of(request: Request) -> list[str]:
    """Return the methods of all routes with this path; FastAPI's 405 names those of one route."""
    path = request.scope["path"]
    is_literal = path in context_of(request).literal_paths
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        path_regex = getattr(route, "path_regex", None)
        if route.path_format == path or (path_regex and not is_literal and path_regex.match(path)):
            methods |= route.methods or set()
    # A path without a route is a folder of static files.
    return sorted(methods | {"HEAD"} if "GET" in methods else methods) or ["GET", "HEAD"]


async def _invalid_cursor(request: Request, _: Exception) -> Response:
    return problem_response(request.scope, errors.CursorRefusedError())


async def _too_many_reads(request: Request, _: Exception) -> Response:
    count_refusal(context_of(request), CONCURRENT_READS)
    detail = "Too many concurrent searches, counts or other expensive reads; wait for some to end."
    return problem_response(request.scope, RateLimitedError(), detail=detail)


async def _reference_error(request: Request) -> AppError:
    """Return the error for a reference to a deleted row, which may be the caller's own account."""
    try:
        await context_of(request).authenticate(request)
    except AppError as error:
        return error
    return errors.ConflictError()


async def _database_error(request: Request, error: Exception) -> Response:
    context = context_of(request)
    record_database_error(context, error)
    cause = driver_error(error)
    # Before the startup work succeeds, the schema may not be migrated yet.
    waits_for_schema = isinstance(cause, _UNDEFINED) and not context.state.started
    if waits_for_schema or is_unavailable(error):
        reason = type(cause).__name__
        log.warning("database_unavailable", reason=reason, **database_trouble(error))
        return problem_response(request.scope, errors.ServiceUnavailableError())
    if not isinstance(cause, psycopg.IntegrityError | psycopg.DataError):
        raise error
    problem: AppError = errors.InvalidInputError()
    if isinstance(cause, _CONFLICTS):
        problem = errors.ConflictError()
    elif isinstance(cause, _REFERENCES):
        problem = await _reference_error(request)
        if not isinstance(problem, errors.ConflictError):
            return problem_response(request.scope, problem)
    return problem_response(request.scope, problem, detail=_log_defect(request, cause, problem))


def _log_defect(request: Request, cause: psycopg.Error, problem: AppError) -> str | None:
    """Log that only the database refused a value; return a detail in development, else None.

    Neither contains the value, unlike PostgreSQL's own message.
    """
    diagnostics = cause.diag
    place = {"constraint": diagnostics.constraint_name, "table": diagnostics.table_name}
    place |= {"column": diagnostics.column_name, "type": diagnostics.datatype_name}
    known = {name: value for name, value in place.items() if value}
    reason = type(cause).__name__
    log.error("database_refused_value", reason=reason, **database_trouble(cause), **known)
    if context_of(request).settings.environment != "development":
        return None
    named = ", ".join(f"{name} {value}" for name, value in known.items()) or "no constraint named"
    return (
        f"{problem.detail} Only the database refused this ({reason}, SQLSTATE {cause.sqlstate}; "
        f"{named}): check the value in the application, or translate the error in the service."
    )
