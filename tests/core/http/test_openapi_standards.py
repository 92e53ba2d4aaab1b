"""The OpenAPI document conforms to its standards with any module."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Any, Literal

import pytest
from fastapi import FastAPI, Path, Query
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel, BeforeValidator, Field

from backend.core.authorization import SAFE_METHODS, CurrentPrincipal, public
from backend.core.errors import error_responses
from backend.core.http.routing import Router
from backend.core.module import Module
from backend.core.registry import ordered
from backend.modules.users.exceptions import UserNotFoundError
from tests.applications import make_app, make_context
from tests.core.http.test_openapi import DOCUMENT, OPERATIONS

# The vocabularies of JSON Schema 2020-12, and what OpenAPI 3.1 adds to them.
KEYWORDS = {
    *("$schema", "$id", "$ref", "$anchor", "$dynamicRef", "$dynamicAnchor", "$comment", "$defs"),
    *("prefixItems", "items", "contains", "additionalProperties", "properties"),
    *("patternProperties", "dependentSchemas", "propertyNames", "if", "then", "else", "allOf"),
    *("anyOf", "oneOf", "not", "unevaluatedItems", "unevaluatedProperties"),
    *("type", "const", "enum", "multipleOf", "maximum", "exclusiveMaximum", "minimum"),
    *("exclusiveMinimum", "maxLength", "minLength", "pattern", "maxItems", "minItems"),
    *("uniqueItems", "maxContains", "minContains", "maxProperties", "minProperties"),
    *("required", "dependentRequired", "title", "description", "default", "deprecated"),
    *("readOnly", "writeOnly", "examples", "format", "contentEncoding", "contentMediaType"),
    *("contentSchema", "discriminator", "xml", "externalDocs", "example"),
}
NAMED = {"$defs", "dependentSchemas", "patternProperties", "properties"}
VALUES = {"const", "default", "enum", "example", "examples", "required", "discriminator"}
MEDIA = "application/problem+json"


def schemas(document: Any) -> Iterator[Any]:
    """Yield every schema that is not part of another one."""
    yield from document.get("components", {}).get("schemas", {}).values()
    if isinstance(document, dict):
        for name, value in document.items():
            if name == "schema":
                yield value
            elif name not in ("example", "examples", "schemas"):
                yield from schemas(value) if isinstance(value, dict) else lists(value)


def lists(value: Any) -> Iterator[Any]:
    for each in value if isinstance(value, list) else ():
        if isinstance(each, dict):
            yield from schemas(each)


def unknown_keywords(schema: Any) -> set[str]:
    if isinstance(schema, bool):
        return set()
    found = {name for name in schema if name not in KEYWORDS and not name.startswith("x-")}
    for name, value in schema.items():
        if name in VALUES:
            continue
        parts = value if isinstance(value, list) else [value]
        for part in value.values() if name in NAMED else parts:
            if isinstance(part, dict):
                found |= unknown_keywords(part)
    return found


def check(document: Any) -> None:
    seen = list(schemas(document))
    assert seen
    for schema in seen:
        assert unknown_keywords(schema) == set(), schema


def test_ours_has_the_vocabulary() -> None:
    check(DOCUMENT)


@pytest.mark.slow  # seconds for a document of this size
def test_ours_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_the_walk_sees_what_is_wrong() -> None:
    wrong = {"paths": {"/": {"get": {"parameters": [{"schema": {"type": "integer", "ge": 1}}]}}}}
    assert [unknown_keywords(each) for each in schemas(wrong)] == [{"ge"}]
    nested = {"properties": {"ge": {"items": {"anyOf": [{"min_length": 1}]}}}}
    assert unknown_keywords(nested) == {"min_length"}


def test_ids_of_jobs_have_their_limits() -> None:
    for method, path in (("GET", "/api/v1/jobs/{id}"), ("POST", "/api/v1/jobs/{id}/retry")):
        (schema,) = [
            each["schema"]
            for each in OPERATIONS[method, path]["parameters"]
            if each["in"] == "path"
        ]
        limits = {"minimum": 1, "maximum": 2**63 - 1}
        assert schema == {"type": "integer", "title": "Id", **limits}


def members(operation: dict[str, Any], status: str) -> dict[str, Any]:
    """Return the properties of the JSON response of an operation."""
    schema = operation["responses"][status]["content"]["application/json"]["schema"]
    name = schema["$ref"].rpartition("/")[2]
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][name]["properties"]
    return found


def test_addresses_may_hold_any_letter() -> None:
    for key, status in ((("GET", "/api/v1/users/{id}"), "200"), (("POST", "/api/v1/users"), "201")):
        assert members(OPERATIONS[key], status)["email"]["format"] == "idn-email"
    me = members(OPERATIONS["GET", "/api/v1/users/me"], "200")
    assert me["email"]["format"] == "idn-email"
    assert me["pending_email"]["format"] == "idn-email"
    for schema in DOCUMENT["components"]["schemas"].values():
        for member in schema.get("properties", {}).values():
            assert member.get("format") != "email"


def test_errors_that_are_left_out_are_counted() -> None:
    problem = DOCUMENT["components"]["schemas"]["Problem"]
    assert problem["properties"]["errors"]["maxItems"] == 100
    assert problem["properties"]["errors_omitted"]["type"] == "integer"
    assert "errors_omitted" not in problem["required"]


# --- Security


def test_the_schemes() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    documented = {
        name: (each["type"], each.get("in"), each.get("name")) for name, each in schemes.items()
    }
    assert documented == {
        "SignIn": ("oauth2", None, None),
        "Cookie": ("apiKey", "cookie", "access_token"),
        "RefreshCookie": ("apiKey", "cookie", "refresh_token"),
        "CSRFToken": ("apiKey", "header", "X-CSRF-Token"),
    }
    assert schemes["SignIn"]["flows"].keys() == {"password"}


def test_what_changes_something_by_cookie_needs_the_token_against_forgery() -> None:
    for (method, path), operation in OPERATIONS.items():
        for need in operation["security"]:
            by_cookie = bool({"Cookie", "RefreshCookie"} & need.keys())
            assert ("CSRFToken" in need) == (by_cookie and method not in SAFE_METHODS), path


def test_clients_send_the_token_when_they_sign_out() -> None:
    logout = OPERATIONS["POST", "/api/v1/auth/logout"]["security"]
    refresh = OPERATIONS["POST", "/api/v1/auth/refresh"]["security"]
    assert logout[0] == {"SignIn": []}
    assert {"Cookie": [], "CSRFToken": []} in logout
    for security in (logout, refresh):
        assert {"RefreshCookie": [], "CSRFToken": []} in security
        assert {"SignIn": []} in security
        assert {} in security
    assert OPERATIONS["POST", "/api/v1/auth/login"]["security"] == []


def test_signing_in_is_described_as_json_alone() -> None:
    content = OPERATIONS["POST", "/api/v1/auth/login"]["requestBody"]["content"]
    assert content.keys() == {"application/json"}
    assert content["application/json"]["schema"]["properties"].keys() == {"email", "password"}


# --- Any declarations of a module


class Trouble(BaseModel):
    why: str


def _same(value: Any) -> Any:
    return value


PLAIN: dict[str, Any] = {"description": "Not today."}
PROBLEM: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Problem"}}
RESPONSES: list[dict[int | str, dict[str, Any]]] = [
    {401: PLAIN},
    {"401": PLAIN},
    {HTTPStatus.UNAUTHORIZED: PLAIN},
    {422: PLAIN},
    {401: {}},
    {401: {**PLAIN, "model": Trouble}},
    {401: {"model": Trouble | None}},
    {401: {**PLAIN, "content": {}}},
    {401: {**PLAIN, "content": {"text/plain": {}}}},
    {401: {**PLAIN, "content": {"text/plain": {"schema": {"type": "string"}}}}},
    {401: {**PLAIN, "content": {MEDIA: {}}}},
    {401: {**PLAIN, "content": {MEDIA: PROBLEM}}},
    {401: {**PLAIN, "content": {MEDIA: {**PROBLEM, "example": {"error": "X"}}}}},
    {401: {**PLAIN, "content": {MEDIA: {"examples": {"mine": {"value": {"error": "X"}}}}}}},
    {401: {**PLAIN, "headers": {"X-Why": {"schema": {"type": "string"}}}}},
    {"4XX": PLAIN},
    {"4xx": PLAIN},
    {"4XX": {"model": Trouble}},
    {"5XX": PLAIN},
    {"default": PLAIN},
    {"default": {"model": Trouble}},
    {200: {"content": {"text/csv": {}}}},
    {"2XX": {"content": {"text/csv": {}}}},
    {206: PLAIN, 304: PLAIN},
    {500: PLAIN, 503: {"model": Trouble}, 418: {**PLAIN, "content": {"image/png": {}}}},
    {**error_responses(UserNotFoundError), 401: PLAIN},
]


def grown(router: Router) -> FastAPI:
    modules = ordered([Module(name="made_odd", router=router)])
    return make_app(make_context("postgresql://nowhere", modules), modules)


def declared_status(status: int | str) -> str:
    key = str(status.value if isinstance(status, HTTPStatus) else status).upper()
    return "default" if key == "DEFAULT" else key


def test_any_responses() -> None:
    router = Router(prefix="/made-odd", tags=["made_odd"])
    for number, responses in enumerate(RESPONSES):

        @router.get(f"/{number}", name=f"read_{number}", responses=responses)
        async def read(_: CurrentPrincipal) -> dict[str, int]:
            """Something."""
            return {}

        path = f"/{number}"
        router.post(path, name=f"write_{number}", responses=responses, dependencies=[public])(write)

    document = grown(router).openapi()
    OpenAPIV31SpecValidator(document).validate()
    check(document)
    for number, responses in enumerate(RESPONSES):
        for operation in document["paths"][f"/api/v1/made-odd/{number}"].values():
            for status in ("401", "422", "500"):
                content = operation["responses"][status]["content"]
                assert content[MEDIA]["schema"] == PROBLEM["schema"], responses
                assert content[MEDIA]["examples"], responses
            for key, declared in responses.items():
                response = operation["responses"][declared_status(key)]
                assert response["description"] == declared.get(
                    "description", response["description"]
                )
                assert declared.get("content", {}).keys() <= response.get("content", {}).keys()
                assert declared.get("headers", {}).keys() <= response.get("headers", {}).keys()


async def write(body: Trouble) -> Trouble:
    """Something."""
    return body


Limited = Annotated[int, BeforeValidator(_same), Field(ge=1, lt=9, multiple_of=2)]


def test_limits_behind_validators() -> None:
    router = Router(prefix="/made-odd", tags=["made_odd"], dependencies=[public])

    class Body(BaseModel):
        ge: Limited
        texts: Annotated[list[str], BeforeValidator(_same), Field(min_length=1, max_length=3)]
        text: Annotated[str, BeforeValidator(_same), Field(min_length=1)]

    @router.post("/{id}")
    async def write(
        id: Annotated[Limited, Path()],
        body: Body,
        size: Annotated[Literal["a", "b"] | None, Query()] = None,
        more: Annotated[Limited | None, Query()] = None,
    ) -> Body:
        """Something."""
        return body

    document = grown(router).openapi()
    OpenAPIV31SpecValidator(document).validate()
    check(document)
    operation = document["paths"]["/api/v1/made-odd/{id}"]["post"]
    limits = {"minimum": 1, "exclusiveMaximum": 9, "multipleOf": 2}
    assert limits.items() <= operation["parameters"][0]["schema"].items()
    # Its name depends on the other classes in the process.
    (properties, *_) = (
        each["properties"]
        for each in document["components"]["schemas"].values()
        if "ge" in each.get("properties", ())
    )
    assert limits.items() <= properties["ge"].items()
    assert {"minItems": 1, "maxItems": 3}.items() <= properties["texts"].items()
    assert {"minLength": 1}.items() <= properties["text"].items()
