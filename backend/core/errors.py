"""Errors of the API; each is rendered as an RFC 9457 problem document.

AppError                    base class; each subclass, also in modules, has a status and a code
+- NotAuthenticatedError    401
+- PermissionDeniedError    403
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from backend.core.status_phrases import phrase_of

SAFE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
MAX_FIELD_ERRORS = 100


class FieldError(BaseModel):
    """An error in one field of the input. It never contains the value sent."""

    field: str = Field(examples=["body.email"])
    message: str = Field(examples=["Must be a valid e-mail address."])
    code: str = Field(examples=["email"])


class AppError(Exception):
    """Base of all errors that are sent to the client. Subclasses set `status`, `code`, `detail`.

    `detail` is a sentence for the client; an argument replaces that of the class. There is no
    default status, because a forgotten one would be reported as an internal error (500).
    """

    status: ClassVar[int]
    code: ClassVar[str]
    detail: str
    default_headers: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[FieldError] = (),
        errors_omitted: int = 0,
    ) -> None:
        super().__init__(self.code)
        if detail is not None:
            self.detail = detail
        self.headers = {**self.default_headers, **(headers or {})}
        self.errors = errors[:MAX_FIELD_ERRORS]
        self.errors_omitted = errors_omitted + len(errors) - len(self.errors)

    def __init_subclass__(cls) -> None:
        missing = [name for name in ("status", "code", "detail") if not hasattr(cls, name)]
        if missing:
            raise TypeError(f"{cls.__name__} must set {', '.join(missing)}")
        if "code" not in vars(cls):
            raise TypeError(
                f"{cls.__name__} must set a code of its own: {cls.code} is that of "
                f"{cls.__mro__[1].__name__}, and clients branch on codes."
            )


class NotAuthenticatedError(AppError):
    status = 401
    code = "NOT_AUTHENTICATED"
    detail = "Sign in first."
    default_headers: ClassVar = {"WWW-Authenticate": "Bearer"}


class InvalidTokenError(AppError):
    status = 401
    code = "INVALID_TOKEN"
    detail = "The access token is invalid, or its session has ended. Sign in again."
    default_headers: ClassVar = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class TokenExpiredError(AppError):
    status = 401
    code = "TOKEN_EXPIRED"
    detail = "The access token has expired."
    default_headers: ClassVar = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class PermissionDeniedError(AppError):
    status = 403
    code = "PERMISSION_DENIED"
    detail = "Your roles do not allow this."


class CSRFError(AppError):
    """A change requested by cookie without proof that the site's own page sent it."""

    status = 403
    code = "CSRF_FAILED"
    detail = "Send the value of the CSRF cookie in X-CSRF-Token, from an allowed origin."


class BadRequestError(AppError):
    status = 400
    code = "BAD_REQUEST"
    detail = "The request could not be understood."


class InvalidHostError(AppError):
    status = 400
    code = "INVALID_HOST"
    detail = "This server does not serve that host name; ALLOWED_HOSTS lists those it serves."


class CursorRefusedError(AppError):
    status = 400
    code = "INVALID_CURSOR"
    detail = "The cursor was not issued for this list, sort and filters. Start at the first page."


class NotFoundError(AppError):
    status = 404
    code = "NOT_FOUND"
    detail = "There is nothing at this address."


class MethodNotAllowedError(AppError):
    status = 405
    code = "METHOD_NOT_ALLOWED"
    detail = "This address does not support that method; `Allow` lists those it supports."


class NotAcceptableError(AppError):
    status = 406
    code = "NOT_ACCEPTABLE"
    detail = "The Accept header excludes every media type of the response."


class ConflictError(AppError):
    status = 409
    code = "CONFLICT"
    detail = "Another resource has this value, or the resource was changed meanwhile."


class PreconditionFailedError(AppError):
    status = 412
    code = "PRECONDITION_FAILED"
    detail = "The resource is not as If-Match or If-None-Match require. Load it again."


class IdempotencyInProgressError(AppError):
    status = 409
    code = "IDEMPOTENCY_IN_PROGRESS"
    detail = "Another request with this Idempotency-Key is in progress. Repeat this one shortly."
    default_headers: ClassVar = {"Retry-After": "1"}


class IdempotencyKeyReusedError(AppError):
    status = 422
    code = "IDEMPOTENCY_KEY_REUSED"
    detail = "This Idempotency-Key belongs to a request with another body. Use a new one."


class PayloadTooLargeError(AppError):
    status = 413
    code = "PAYLOAD_TOO_LARGE"
    detail = "The body is larger than this address accepts."


class UnsupportedMediaTypeError(AppError):
    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"
    detail = (
        "Send a media type that this address accepts, usually application/json, in UTF-8 and "
        "without a Content-Encoding."
    )


class RequestTimeoutError(AppError):
    status = 408
    code = "REQUEST_TIMEOUT"
    detail = "The request did not arrive in time. Send it again."


class HeadersTooLargeError(AppError):
    status = 431
    code = "REQUEST_HEADER_FIELDS_TOO_LARGE"
    detail = "The request line and the headers are larger than this server accepts."


class InvalidInputError(AppError):
    status = 422
    code = "VALIDATION_ERROR"
    detail = "Some of the input is not acceptable; `errors` names the fields."


class InternalError(AppError):
    status = 500
    code = "INTERNAL_ERROR"
    detail = "The server failed to process the request. The log has details by request id."


class ServiceUnavailableError(AppError):
    status = 503
    code = "SERVICE_UNAVAILABLE"
    detail = "A required service is not available. Try again shortly."
    default_headers: ClassVar = {"Retry-After": "1"}


def title_of(error: type[AppError]) -> str:
    return error.code.replace("_", " ").capitalize()


def all_errors(base: type[AppError] = AppError) -> Iterator[type[AppError]]:
    """Yield all subclasses of `base`, each before its own subclasses."""
    for error in base.__subclasses__():
        yield error
        yield from all_errors(error)


def error_responses(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses=` of a route that can raise these errors."""
    by_status: dict[int, list[type[AppError]]] = {}
    for error in errors:
        by_status.setdefault(error.status, []).append(error)
    return {
        status: {
            "description": f"{phrase_of(status)}: " + ", ".join(e.code for e in group),
            "content": {
                "application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {
                        error.code: {
                            "value": {
                                "type": f"/errors/{error.code}",
                                "title": title_of(error),
                                "status": status,
                                "detail": error.detail,
                                "instance": "/api/v1/...",
                                "error": error.code,
                                "path": "/api/v1/...",
                                "timestamp": "2026-01-01T12:00:00.000000Z",
                                "request_id": "0198c1f2",
                            }
                        }
                        for error in group
                    },
                }
            },
        }
        for status, group in by_status.items()
    }
