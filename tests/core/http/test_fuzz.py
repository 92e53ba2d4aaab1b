"""Arbitrary JSON to every route with a body causes no 5xx and is never repeated in errors."""

import json
from typing import Any
from uuid import uuid4

from fastapi import params
from fastapi.routing import APIRoute, iter_route_contexts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.core.registry import API_PREFIX
from tests.applications import MODULES, make_app, make_context
from tests.core.conftest import Served
from tests.examples import examples
from tests.hostile import CANARY

DOCUMENT = make_app(make_context("postgresql://nowhere"), MODULES).openapi()
BODIES = ("POST", "PUT", "PATCH")


def operations() -> list[tuple[str, str, list[str]]]:
    """Return method, path and member names of every route that takes a JSON body."""
    found = []
    for path, by_method in DOCUMENT["paths"].items():
        for method, operation in by_method.items():
            content = operation.get("requestBody", {}).get("content", {})
            if method.upper() in BODIES and "application/json" in content:
                schema = resolved(content["application/json"]["schema"])
                found.append((method.upper(), path, sorted(schema["properties"])))
    return found


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        target: dict[str, Any] = DOCUMENT["components"]["schemas"][name]
        return target
    return schema


OPERATIONS = operations()
TEXTS = st.text(st.characters(), max_size=30).map(lambda text: CANARY + text)
ODD_TEXTS = st.sampled_from(
    ["\0", "\ud800", "\u200b", "'; --", "%s%n", "{{7*7}}", "\x1b[2J", "é" * 300, "a@b.c", "admin"]
).map(lambda text: text + CANARY)
NUMBERS = (
    st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**400, 1e308])
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS | ODD_TEXTS
# Names that no response may repeat; `requests` adds the names that a route declares.
NAMES = TEXTS.map(lambda text: f"{text} ")
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, Any]:
    method, path, members = draw(st.sampled_from(OPERATIONS))
    known = st.dictionaries(st.sampled_from(members), VALUES, max_size=len(members))
    return (
        method,
        path,
        draw(known | VALUES | st.dictionaries(NAMES | known_names(members), VALUES)),
    )


def known_names(members: list[str]) -> st.SearchStrategy[str]:
    return st.sampled_from(members)


def test_every_route_with_a_body_is_among_them() -> None:
    app = make_app(make_context("postgresql://nowhere"), MODULES)
    taking = {
        (method, route.path_format)
        for route in iter_route_contexts(app.routes)
        if isinstance(route.original_route, APIRoute) and route.original_route.body_field
        # Uploads have no JSON; tests of images and avatars damage their bytes.
        if not isinstance(route.original_route.body_field.field_info, params.File)
        for method in route.methods or ()
        if (route.path_format or "").startswith("/api/v1/")
    }
    assert taking <= {(method, path) for method, path, _ in OPERATIONS}
    assert ("POST", f"{API_PREFIX}/auth/login") in {
        (method, path) for method, path, _ in OPERATIONS
    }


@settings(
    max_examples=examples(150),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(request=requests())
async def test_no_json_is_our_failure(served: Served, request: tuple[str, str, Any]) -> None:
    method, path, body = request
    for id in (str(served.admin.id), str(uuid4())):
        answer = await served.admin.request(
            method,
            path.replace("{id}", id),
            content=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code < 500, answer.text
        if answer.is_error:
            assert CANARY not in answer.text
            assert not any(CANARY in value for value in answer.headers.values())
        if "{id}" not in path:
            break


@settings(
    max_examples=examples(100),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(operation=st.sampled_from(OPERATIONS), content=st.binary(max_size=200))
async def test_no_bytes_are_our_failure(
    served: Served, operation: tuple[str, str, list[str]], content: bytes
) -> None:
    method, path, _ = operation
    answer = await served.admin.request(
        method,
        path.replace("{id}", str(uuid4())),
        content=content,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code < 500
