"""RFC 9457 problem documents: the bodies of all error responses."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson
from pydantic import BaseModel, Field
from starlette.responses import Response
from starlette.types import Scope

from backend.core.errors import MAX_FIELD_ERRORS, AppError, FieldError, title_of


class Problem(BaseModel):
    """RFC 9457 problem document: the body of every error response."""

    type: str = Field(description="Where `error` is explained.", examples=["/errors/NOT_FOUND"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is nothing at this address."])
    instance: str = Field(description="Path of the request, percent-encoded, without query.")
    error: str = Field(description="Stable code to branch on.", examples=["NOT_FOUND"])
    path: str
    timestamp: datetime
    request_id: str = Field(description="Also in `X-Request-ID` and in the log.")
    errors: list[FieldError] = Field(
        default=[],
        max_length=MAX_FIELD_ERRORS,
        description="With 422 and 409: the errors by field; at most 100.",
    )
    errors_omitted: int = Field(
        default=0, ge=0, description="The number of further errors; present only if there are any."
    )


def problem_response(scope: Scope, error: AppError, *, detail: str | None = None) -> Response:
    """Return the problem document of `error` as the response to the request of `scope`."""
    prefix = scope.get("prefix", "")
    path = prefix + quote(scope.get("original_path", scope["path"]), safe="/:@!$&'()*+,;=-._~")
    document: dict[str, Any] = {
        "type": f"{prefix}/errors/{error.code}",
        "title": title_of(type(error)),
        "status": error.status,
        "detail": detail or error.detail,
        "instance": path,
        "error": error.code,
        "path": path,
        "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        "request_id": scope.get("request_id", ""),
    }
    if error.errors:
        document["errors"] = [field.model_dump() for field in error.errors]
    if error.errors_omitted:
        document["errors_omitted"] = error.errors_omitted
    return Response(
        orjson.dumps(document),
        status_code=error.status,
        media_type="application/problem+json",
        headers=error.headers,
    )
