"""Rules of the HTTP contract that every response has to keep."""

import re
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from backend.core.response_cache import MAX_AGE

PROBLEM_MEMBERS = {
    "type",
    "title",
    "status",
    "detail",
    "instance",
    "error",
    "path",
    "timestamp",
    "request_id",
}
PER_REQUEST_MEMBERS = {"instance", "path", "timestamp", "request_id"}
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}


def check_contract(app: FastAPI, response: httpx.Response) -> None:
    """Raise AssertionError unless headers, problem document and OpenAPI agree with the contract."""
    assert response.headers["x-request-id"]
    assert "content-security-policy" in response.headers
    assert HEADERS.items() <= dict(response.headers).items()
    if response.status_code == 204:
        assert not response.content
        assert "content-type" not in response.headers
    if response.status_code == 201 and not response.request.url.path.rstrip("/").endswith("/bulk"):
        assert response.headers["location"].startswith("/")
    if "etag" in response.headers and response.request.url.path.startswith("/api"):
        assert response.headers["vary"].startswith("Authorization, Cookie")
    elif response.request.url.path.startswith("/api"):
        cached = response.headers["cache-control"] == f"public, max-age={MAX_AGE}"
        assert cached or response.headers["cache-control"] == "no-store"
    if response.status_code >= 400 and response.request.method != "HEAD":
        check_problem(response)
    check_documented(app, response)


def check_problem(response: httpx.Response) -> None:
    if response.request.url.path.rstrip("/") == "/health/ready":
        return
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem.keys() - {"errors", "errors_omitted"} == PROBLEM_MEMBERS, problem
    assert problem["status"] == response.status_code
    assert problem["type"] == f"/errors/{problem['error']}"
    assert problem["request_id"] == response.headers["x-request-id"]
    assert "?" not in problem["path"]
    assert ("errors" in problem) <= (response.status_code in (409, 422))
    assert ("errors_omitted" in problem) <= (len(problem.get("errors", ())) == 100)
    if response.status_code == 401:
        assert "www-authenticate" in response.headers
    if response.status_code in (429, 503):
        assert int(response.headers["retry-after"]) >= 1


def check_documented(app: FastAPI, response: httpx.Response) -> None:
    """Fail unless the OpenAPI document lists this status for this operation."""
    operation = operation_of(app, response.request.method, response.request.url.path)
    # The operation of `DELETE /users/{id}` is also found for `/users/export`, which has none.
    if operation is None or response.status_code == 405:
        assert response.status_code in (200, 204, 400, 404, 405, 500)
        return
    assert str(response.status_code) in operation["responses"], (
        f"{response.request.method} {response.request.url.path} returned "
        f"{response.status_code}, which its OpenAPI responses do not list: {response.text}"
    )


def operation_of(app: FastAPI, method: str, path: str) -> dict[str, Any] | None:
    """Return the OpenAPI operation of this request, or None if it is not documented."""
    method = "GET" if method == "HEAD" else method
    path = path.rstrip("/") or "/"
    if app.openapi not in _documented:
        _documented[app.openapi] = _operations(app)
    for pattern, methods, operations in _documented[app.openapi]:
        if method in methods and pattern.fullmatch(path):
            return operations[method.lower()]
    return None


# The pattern of a path, its methods, and its operations by method in lower case.
Operations = list[tuple[re.Pattern[str], set[str], dict[str, dict[str, Any]]]]
# By the function that creates an application's document, and by its routes, because creating the
# document takes longer than most tests.
_documented: dict[object, Operations] = {}


def _operations(app: FastAPI) -> Operations:
    routes = [
        route
        for route in iter_route_contexts(app.routes)
        if isinstance(route.original_route, APIRoute) and route.include_in_schema
    ]
    key = tuple((route.path, id(route.original_route)) for route in routes)
    if key not in _documented:
        documents: Any = app
        versions = app.state.context.versions
        paths = {
            path: operations
            for version in versions
            for path, operations in documents.openapi(version)["paths"].items()
        }
        _documented[key] = [
            (route.path_regex, route.methods or set(), paths[route.path_format]) for route in routes
        ]
    return _documented[key]


def stable_members(response: httpx.Response) -> dict[str, Any]:
    """Return the members of a problem document that do not differ between requests."""
    members = response.json().items()
    return {name: value for name, value in members if name not in PER_REQUEST_MEMBERS}


def is_uuid7(text: str) -> bool:
    return bool(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text)
    )
