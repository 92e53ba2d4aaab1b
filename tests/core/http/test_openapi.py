"""The OpenAPI document is complete, valid, and consistent with the routes."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from backend.core.authorization import policies
from backend.core.errors import all_errors
from backend.product import TITLE
from tests.applications import MODULES, make_app, make_context

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
NAME = re.compile(r"[A-Za-z0-9._-]+")
PROBLEM = {"$ref": "#/components/schemas/Problem"}
MEDIA = "application/problem+json"
Operation = dict[str, Any]


def build(**settings: Any) -> FastAPI:
    context = make_context("postgresql://nowhere", **{"product_name": TITLE, **settings})
    return make_app(context, MODULES)


APP = build()
DOCUMENT: dict[str, Any] = APP.openapi()
OPERATIONS: dict[tuple[str, str], Operation] = {
    (method.upper(), path): operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}
ROUTES = {
    (method, route.path_format or ""): route.original_route
    for route in iter_route_contexts(APP.routes)
    if isinstance(route.original_route, APIRoute) and route.include_in_schema
    # Later versions have documents of their own.
    if not re.match(r"/api/v(?!1/)", route.path_format or "")
    for method in route.methods or ()
}
each_operation = pytest.mark.parametrize(
    ("key", "operation"), OPERATIONS.items(), ids=[" ".join(key) for key in OPERATIONS]
)


def nodes(value: Any, path: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object of the document with its place."""
    if isinstance(value, dict):
        yield path, value
        for name, each in value.items():
            yield from nodes(each, f"{path}/{name}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from nodes(each, f"{path}/{index}")


def codes(operation: Operation, status: int) -> set[str]:
    response = operation["responses"].get(str(status), {})
    return set(response.get("content", {}).get(MEDIA, {}).get("examples", {}))


def test_the_document_is_one_of_openapi() -> None:
    assert re.fullmatch(r"3\.1\.\d+", DOCUMENT["openapi"])
    assert DOCUMENT["info"]["title"] == TITLE
    assert DOCUMENT["info"]["version"]
    assert DOCUMENT["info"]["description"].strip()
    standard = {"openapi", "info", "servers", "paths", "components", "tags"}
    assert DOCUMENT.keys() <= standard | {"x-permissions", "x-errors"}
    assert json.loads(json.dumps(DOCUMENT, allow_nan=False)) == DOCUMENT


def test_all_permissions_and_errors_are_described() -> None:
    assert DOCUMENT["x-permissions"] == {
        name: text
        for module in MODULES
        for feature in module.features
        for name, text in feature.permissions.items()
    }
    errors = DOCUMENT["x-errors"]
    meanings = {error.code: error for error in all_errors()}
    for code, described in errors.items():
        error = meanings[code]
        assert (described["status"], described["detail"]) == (error.status, error.detail)
    assert all(
        codes(each, int(s)) <= errors.keys()
        for each in OPERATIONS.values()
        for s in each["responses"]
    )
    assert {"INVALID_HOST", "METHOD_NOT_ALLOWED", "CONFLICT", "LAST_ADMIN"} <= errors.keys()


def test_requests_that_take_unique_values_document_deadlocks() -> None:
    taking = {
        operation["operationId"]: codes(operation, 409)
        for operation in OPERATIONS.values()
        if any(code.endswith("_ALREADY_EXISTS") for code in codes(operation, 409))
    }
    assert {"users-update_me", "roles-create_role"} <= taking.keys()
    assert [name for name, documented in taking.items() if "CONFLICT" not in documented] == []


def test_it_is_the_same_everywhere() -> None:
    production = build(environment="production", docs_enabled=False)
    assert production.openapi() == DOCUMENT


def test_every_route_is_in_it_and_nothing_else() -> None:
    assert OPERATIONS.keys() == ROUTES.keys()
    assert not [path for path in DOCUMENT["paths"] if path != "/" and path.endswith("/")]
    assert {method.lower() for method, _ in OPERATIONS} <= METHODS


def test_operation_ids_are_unique_names() -> None:
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z]+-[a-z_]+", each) for each in ids), ids


def test_every_reference_leads_somewhere() -> None:
    for place, node in nodes(DOCUMENT):
        if isinstance(reference := node.get("$ref"), str):
            assert reference.startswith("#/"), place
            target: Any = DOCUMENT
            for part in reference.removeprefix("#/").split("/"):
                assert part in target, f"{place} refers to {reference}"
                target = target[part]


def test_components_are_named_and_used() -> None:
    used = {node["$ref"] for _, node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)}
    for kind, components in DOCUMENT["components"].items():
        for name in components:
            assert NAME.fullmatch(name) or kind == "securitySchemes", name
            assert kind == "securitySchemes" or f"#/components/{kind}/{name}" in used, name


def test_schemas_are_sound() -> None:
    types = {"string", "number", "integer", "boolean", "array", "object", "null"}
    for place, node in nodes(DOCUMENT["components"]["schemas"], "#/components/schemas"):
        if place.rpartition("/")[2] in ("properties", "example", "examples", "default"):
            continue
        if isinstance(kind := node.get("type"), str) and "properties" in node:
            assert kind == "object", place
            assert set(node.get("required", ())) <= node["properties"].keys(), place
        if isinstance(kind, str) and not place.endswith("/properties"):
            assert kind in types, place
            assert kind != "array" or "items" in node or "prefixItems" in node, place
        assert "definitions" not in node, place
        assert "$defs" not in node, place


def test_the_sign_in_works_from_the_document() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert schemes["SignIn"]["type"] == "oauth2"
    path = schemes["SignIn"]["flows"]["password"]["tokenUrl"]
    login = OPERATIONS["POST", path]
    assert login["requestBody"]["content"].keys() == {"application/json"}
    used = {each for op in OPERATIONS.values() for need in op["security"] for each in need}
    assert used == schemes.keys()


@each_operation
def test_each_operation_is_described(key: tuple[str, str], operation: Operation) -> None:
    assert operation["summary"]
    assert operation["description"].strip().endswith(".")
    assert len(operation["tags"]) == 1
    assert operation["operationId"].startswith(f"{operation['tags'][0]}-")
    assert operation.keys() <= {
        *("summary", "description", "tags", "operationId", "parameters", "requestBody"),
        *("responses", "security", "deprecated", "x-permission"),
    }
    assert ("requestBody" in operation) <= (key[0] in ("POST", "PUT", "PATCH", "DELETE"))


@each_operation
def test_parameters_are_declared_once_and_described(
    key: tuple[str, str], operation: Operation
) -> None:
    parameters = operation.get("parameters", [])
    places = [(each["in"], each["name"]) for each in parameters]
    assert len(places) == len(set(places))
    in_path = {name for place, name in places if place == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", key[1]))
    for each in parameters:
        assert each["in"] in ("path", "query", "header", "cookie")
        assert (
            each["schema"].get("type") or each["schema"].get("$ref") or each["schema"].get("anyOf")
        )
        assert each["in"] != "path" or each["required"] is True
        assert each["in"] != "query" or each["description"].endswith(".")


@each_operation
def test_security_says_what_the_policy_does(key: tuple[str, str], operation: Operation) -> None:
    (policy,) = policies(ROUTES[key].dependant)
    by_cookie: dict[str, object] = {"Cookie": []}
    if key[0] not in ("GET", "HEAD"):
        by_cookie["CSRFToken"] = []
    signed_in = [{"SignIn": []}, by_cookie]
    expected: dict[str, object] = {
        "ignored": [],
        "public": [{}, *signed_in],
        "download": [{}, {"SignIn": []}],
        "signed in": signed_in,
        "permission": signed_in,
    }
    if key[1] not in ("/api/v1/auth/refresh", "/api/v1/auth/logout"):
        assert operation["security"] == expected[policy.kind]
    assert operation.get("x-permission") == policy.permission
    if policy.permission:
        assert policy.permission in DOCUMENT["x-permissions"]
        assert f"`{policy.permission}`" in operation["description"]
        assert "PERMISSION_DENIED" in codes(operation, 403)
    if policy.kind in ("signed in", "permission"):
        assert {"NOT_AUTHENTICATED", "INVALID_TOKEN", "TOKEN_EXPIRED"} <= codes(operation, 401)
    if policy.kind in ("public", "download"):
        assert {"INVALID_TOKEN", "TOKEN_EXPIRED"} <= codes(operation, 401)
    if policy.kind == "ignored" and "requestBody" not in operation:
        assert "401" not in operation["responses"]


# The media types of responses that are files.
EXPORT = {"text/csv", "application/x-ndjson"}
FILES = {
    ("GET", "/api/v1/users/me/export"): {"application/json"},
    ("GET", "/files/{key}"): {"*/*"},
}


@each_operation
def test_answers_are_described_with_examples(key: tuple[str, str], operation: Operation) -> None:
    meanings = {error.code: error for error in all_errors()}
    answers = operation["responses"]
    assert [status for status in answers if status.startswith("2")], "no success response"
    assert {"400", "406", "431", "500"} <= answers.keys()
    for status, answer in answers.items():
        assert re.fullmatch(r"[1-5][0-9]{2}", status)
        assert answer["description"]
        if status in ("204", "304"):
            assert "content" not in answer
        elif status.startswith("2"):
            expected = EXPORT if key[1].endswith("/export") else {"application/json"}
            expected = FILES.get(key, expected)
            assert answer["content"].keys() == expected
            assert all(content["schema"] for content in answer["content"].values()), "of any shape"
        elif key != ("GET", "/health/ready") or status != "503":
            assert answer["content"].keys() == {MEDIA}
            assert answer["content"][MEDIA]["schema"] == PROBLEM
            assert codes(operation, int(status)), f"{status} without an example"
            for code, example in answer["content"][MEDIA]["examples"].items():
                assert meanings[code].status == int(status)
                assert example["value"]["error"] == code
                assert example["value"]["type"] == f"/errors/{code}"
                assert example["value"]["detail"] == meanings[code].detail


def test_headers_of_responses_are_described() -> None:
    by_status = {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After"}
    for operation in OPERATIONS.values():
        responses = operation["responses"]
        for status in by_status.keys() & responses.keys():
            assert by_status[status] in responses[status]["headers"]
        parameters = {each["name"] for each in operation.get("parameters", ())}
        assert ("cursor" in parameters) is ("Link" in responses.get("200", {}).get("headers", ()))
    me = OPERATIONS["GET", "/api/v1/users/me"]["responses"]["200"]
    assert me["headers"].keys() == {"ETag", "X-CSRF-Token"}


@each_operation
def test_errors_follow_from_the_shape(key: tuple[str, str], operation: Operation) -> None:
    method, path = key
    parameters = {each["name"] for each in operation.get("parameters", ())}
    assert "VALIDATION_ERROR" in codes(operation, 422)
    if "cursor" in parameters:
        assert {"limit", "offset", "sort", "fields", "total"} <= parameters
        assert "INVALID_CURSOR" in codes(operation, 400)
    for each in operation.get("parameters", ()):
        if each["name"] in ("sort", "fields", "include"):
            # One value, of names that a generated client knows.
            assert (each["style"], each["explode"], each["schema"]["type"]) == (
                "form",
                False,
                "array",
            )
            assert each["schema"]["uniqueItems"]
            assert each["schema"]["minItems"] == 1
            assert each["schema"]["items"]["enum"]
    if "{" in path:
        assert any(code.endswith("NOT_FOUND") for code in codes(operation, 404))
    if "requestBody" in operation:
        # These two also take their credential from a cookie.
        optional = path.endswith(("/auth/refresh", "/auth/logout"))
        assert operation["requestBody"]["required"] is not optional
        for schema in operation["requestBody"]["content"].values():
            assert schema["schema"]
        assert "BAD_REQUEST" in codes(operation, 400)
        assert "PAYLOAD_TOO_LARGE" in codes(operation, 413)
        assert "UNSUPPORTED_MEDIA_TYPE" in codes(operation, 415)
    if method == "POST" and "201" in operation["responses"]:
        assert operation["responses"]["201"]["content"]["application/json"]["schema"]


def test_requests_refuse_and_answers_allow_unknown_members() -> None:
    for operation in OPERATIONS.values():
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = content["schema"]
            if "$ref" in schema:
                schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("/items", "sort", ["created_at", "updated_at", "title"]),
        ("/users", "sort", ["created_at", "updated_at", "email", "username"]),
        ("/articles", "sort", ["created_at", "updated_at", "published_at", "title"]),
        ("/audit-events", "sort", ["occurred_at"]),
        ("/roles", "sort", ["name", "created_at", "updated_at"]),
        ("/permissions", "sort", ["feature"]),
        ("/auth/sessions", "sort", ["created_at", "last_used_at"]),
        ("/jobs", "sort", ["created_at", "attempts"]),
        ("/users/{id}", "include", ["items"]),
        ("/articles", "status", ["draft", "published", "archived"]),
        ("/audit-events", "outcome", ["success", "failure", "denied"]),
        ("/jobs", "status", ["waiting", "running", "failed", "done"]),
        ("/permissions", "fields", ["feature", "description", "actions"]),
        ("/roles/{name}", "fields", ["name", "description", "permissions", "built_in"]),
    ],
)
def test_names_and_states_are_enums(path: str, name: str, expected: list[str]) -> None:
    parameters = OPERATIONS["GET", f"/api/v1{path}"]["parameters"]
    (schema,) = [each["schema"] for each in parameters if each["name"] == name]
    if name == "sort":
        expected = [sign + field for field in expected for sign in ("", "-")]
    found = schema["items"]["enum"] if schema["type"] == "array" else schema["enum"]
    assert found[: len(expected)] == expected
    assert len(found) == len(expected) or path == "/roles/{name}"


def test_an_inclusion_is_an_optional_member_of_one_response() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    response = OPERATIONS["GET", "/api/v1/users/{id}"]["responses"]["200"]
    (content,) = response["content"].values()
    schema = schemas[content["schema"]["$ref"].rpartition("/")[2]]
    assert schema["properties"]["items"]["$ref"].endswith("/Page_ItemOut_")
    own = {name: value for name, value in schema["properties"].items() if name != "items"}
    assert own == schemas["UserOut"]["properties"]
    assert schema["required"] == schemas["UserOut"]["required"]
    others = [key for key, each in OPERATIONS.items() if schema["title"] in json.dumps(each)]
    assert others == [("GET", "/api/v1/users/{id}")]


def test_fields_are_the_members_of_the_resource() -> None:
    for (method, path), operation in OPERATIONS.items():
        for each in operation.get("parameters", ()):
            if method == "GET" and each["name"] == "fields":
                reference = operation["responses"]["200"]["content"]["application/json"]["schema"]
                schema = DOCUMENT["components"]["schemas"][reference["$ref"].rpartition("/")[2]]
                if "next_cursor" in schema["properties"]:
                    item = schema["properties"]["data"]["items"]["$ref"].rpartition("/")[2]
                    schema = DOCUMENT["components"]["schemas"][item]
                # Inclusions are not: they are not always there.
                assert each["schema"]["items"]["enum"] == schema["required"], path


def test_a_text_that_may_be_empty_has_no_pattern() -> None:
    content = OPERATIONS["POST", "/api/v1/items"]["requestBody"]["content"]["application/json"]
    name = content["schema"]["$ref"].rpartition("/")[2]
    fields = DOCUMENT["components"]["schemas"][name]["properties"]
    assert fields["title"]["pattern"] == r"\S"
    assert "pattern" not in fields["description"]["anyOf"][0]


def test_constraints_that_schemas_can_express_are_in_them() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    # The pattern refuses white space, not all that is invisible.
    new = schemas["UserCreate"]["properties"]
    assert new["full_name"]["anyOf"][0]["pattern"] == r"\S"
    assert new["password"]["anyOf"][0]["minLength"] == 8
    assert schemas["PasswordChange"]["properties"]["current_password"]["minLength"] == 1
    addresses = [
        each["schema"]
        for each in OPERATIONS["GET", "/api/v1/audit-events"]["parameters"]
        if each["name"] == "ip"
    ]
    formats = [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]
    assert addresses == [{"anyOf": formats}]
    body = OPERATIONS["PUT", "/api/v1/users/me/avatar"]["requestBody"]["content"]
    encoding = body["multipart/form-data"]["encoding"]
    assert encoding == {"file": {"contentType": "image/png, image/jpeg, image/webp"}}
