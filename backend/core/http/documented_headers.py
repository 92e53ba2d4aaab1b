"""The OpenAPI description of headers, of requests and of responses."""

from collections.abc import Sequence
from typing import Any

from fastapi.routing import RouteContext

from backend.core.deprecation import Deprecation
from backend.core.errors import PreconditionFailedError, error_responses
from backend.core.http.idempotency import KEY_PATTERN
from backend.core.http.pagination import ListParameters
from backend.core.http.resources import Resources, resource_of
from backend.core.http.routing import Route

_TAG = {"description": "The tag of the whole resource.", "schema": {"type": "string"}}
_REPLAYED = {
    "description": "`true` if this is the stored response of an earlier request.",
    "schema": {"const": "true"},
}
_LOCATION = {
    "description": "The path of what was created.",
    "schema": {"type": "string", "format": "uri-reference"},
}


def _link(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


_LINK = _link('`<...>; rel="next"`, the next page, if there is one.')
_LINKS = (
    '`rel="deprecation"` and `rel="sunset"`: a page about the removal; `rel="successor-version"`: '
    "the same resource in the next version of the API, if it replaces this one."
)
_DEPRECATION = {
    "description": "When this route, or a member of its bodies, was deprecated: `@` and seconds "
    "since 1970 (RFC 9745).",
    "schema": {"type": "string", "pattern": r"^@\d+$"},
}
_SUNSET = {
    "description": "When it may be removed: an HTTP-date (RFC 8594).",
    "schema": {"type": "string"},
}
_WWW_AUTHENTICATE = {
    "description": "`Bearer`, with an `error` if a token was sent.",
    "schema": {"type": "string"},
}
_RETRY_AFTER = {
    "description": "Seconds after which to repeat the request.",
    "schema": {"type": "integer"},
}
_OF_ERRORS = {
    "401": {"WWW-Authenticate": _WWW_AUTHENTICATE},
    "429": {"Retry-After": _RETRY_AFTER},
    "503": {"Retry-After": _RETRY_AFTER},
}


def describe_headers(
    operation: dict[str, Any], context: RouteContext, route: Route, resources: Resources
) -> None:
    """Add the headers of requests and responses, and the responses 304 and 412."""
    headers: dict[str, Any] = {}
    path, methods = str(context.path_format), route.methods or set()
    if resource_of(route):
        operation["responses"]["304"] = {
            "description": "Not Modified: the tag is in If-None-Match.",
            "headers": {"ETag": _TAG},
        }
        text = "Tags of representations that the client has: 304 if the current one is among them."
        _add_parameter(operation, "If-None-Match", text)
    elif resources.are_changed_by(path, methods, route.status_code):
        text = "Tags of the resource, or `*`: 412 without any change if it has none of them."
        _add_parameter(operation, "If-Match", text)
        operation["responses"] |= {
            str(status): response
            for status, response in error_responses(PreconditionFailedError).items()
        }
    if route.location:
        headers["Location"] = _LOCATION
    if route.location or resource_of(route) or route.response_model in resources.schemas:
        headers["ETag"] = _TAG
    if any(isinstance(each.call, ListParameters) for each in route.dependant.dependencies):
        headers["Link"] = _LINK
    if headers:
        _add_headers(operation["responses"][str(route.status_code or 200)], headers)
    if deprecations := route.deprecations:
        _describe_deprecation(operation, deprecations)
    for status in _OF_ERRORS.keys() & operation["responses"].keys():
        _add_headers(operation["responses"][status], _OF_ERRORS[status])
    if route.idempotent:
        text = "Makes a repetition safe: it gets the response of the first request for 24 hours."
        _add_parameter(operation, "Idempotency-Key", text, pattern=KEY_PATTERN)
        for status, response in operation["responses"].items():
            if status.startswith("2"):
                _add_headers(response, {"Idempotency-Replayed": _REPLAYED})


def _describe_deprecation(operation: dict[str, Any], deprecations: Sequence[Deprecation]) -> None:
    for response in operation["responses"].values():
        link = response.get("headers", {}).get("Link", {"description": ""})["description"]
        headers = {"Deprecation": _DEPRECATION, "Link": _link(f"{link} {_LINKS}".strip())}
        if any(each.sunset for each in deprecations):
            headers["Sunset"] = _SUNSET
        _add_headers(response, headers)


def _add_headers(response: dict[str, Any], headers: dict[str, Any]) -> None:
    response["headers"] = {**response.get("headers", {}), **headers}


def _add_parameter(
    operation: dict[str, Any], name: str, description: str, **constraints: str
) -> None:
    parameter = {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", **constraints},
    }
    operation.setdefault("parameters", []).append(parameter)
