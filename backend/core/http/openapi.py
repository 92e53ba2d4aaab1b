"""The OpenAPI document: FastAPI's, completed by errors, security and query parameters."""

from collections.abc import Mapping, Sequence, Set
from copy import deepcopy
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic import BaseModel

from backend.core import errors
from backend.core.authorization import SAFE_METHODS, Policy, policies
from backend.core.context import Inclusion, PersonalData
from backend.core.errors import AppError, error_responses
from backend.core.http.deprecations import deprecation_of, path_in, version_in
from backend.core.http.documented_errors import PROBLEM_MEDIA, meanings_of_errors
from backend.core.http.documented_headers import describe_headers
from backend.core.http.documented_urls import change_flows, other_versions
from backend.core.http.forms import FORM_TYPES
from backend.core.http.inclusions import describe_inclusions
from backend.core.http.json_schemas import REFERENCE, standardise_schemas
from backend.core.http.resources import resources_of
from backend.core.http.routing import Route
from backend.core.limits import RateLimitedError
from backend.core.module import SecuritySchemes
from backend.core.personal_data import contributed_schemas
from backend.core.problems import Problem

DESCRIPTION = """
Every error is an RFC 9457 problem document; `error` is a stable code to branch on, and
`GET /errors/{code}` explains it. A trailing slash in a path is ignored.
Every response has `X-Request-ID`; send your own to find a request in the logs.
Times are RFC 3339 in UTC, ids are UUIDv7. Unknown body members and query parameters are refused.
"""


def operation_id(route: APIRoute | RouteContext) -> str:
    """Return an id such as `notes-publish_note`, for readable names in generated clients."""
    return f"{route.tags[0]}-{route.name}" if route.tags else str(route.name)


def openapi_document(
    app: FastAPI,
    security: SecuritySchemes | None,
    personal_data: PersonalData,
    inclusions: Sequence[Inclusion],
    permissions: Mapping[str, str],
    *,
    version: int = 1,
    versions: Sequence[int] = (1,),
) -> dict[str, Any]:
    """Return the document of one version of the API; `versions` are all that there are.

    `x-permission` is the permission that an operation needs, `x-permissions` describes all
    permissions by name, and `x-errors` all errors by code.
    """
    contexts = [
        context
        for context in iter_route_contexts(app.routes)
        if version_in(str(context.path)) in (None, version)
    ]
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=DESCRIPTION + other_versions(version, versions),
        routes=contexts,
        servers=[{"url": "/"}],
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schema = Problem.model_json_schema(ref_template=REFERENCE)
    schemas |= {**schema.pop("$defs"), "Problem": schema}
    for model in contributed_schemas(personal_data):
        described = model.model_json_schema(mode="serialization", ref_template=REFERENCE)
        schemas.update({**described.pop("$defs", {}), **schemas, model.__name__: described})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemes = deepcopy(dict(security.schemes)) if security else {}
    if version > 1:
        change_flows(schemes, lambda url: path_in(version, url))
    components["securitySchemes"] = schemes
    resources = resources_of((str(each.path_format), each.original_route) for each in contexts)
    for context in contexts:
        if isinstance(context.original_route, APIRoute) and context.include_in_schema:
            for method in context.methods or ():
                operation = document["paths"][context.path_format][method.lower()]
                _complete(operation, context.original_route, schemas, security)
                describe_inclusions(operation, context.original_route, schemas, inclusions)
                if isinstance(context.original_route, Route):
                    describe_headers(operation, context, context.original_route, resources)
    standardise_schemas(document)
    return {
        **document,
        "x-permissions": dict(sorted(permissions.items())),
        "x-errors": meanings_of_errors(document["paths"]),
    }


def _requirements(
    policy: Policy, methods: Set[str], security: SecuritySchemes | None
) -> list[dict[str, list[str]]]:
    """Return the alternative credentials of a route; `{}` stands for none."""
    if policy.kind == "ignored" or security is None:
        return []
    is_public = policy.kind in ("public", "download")
    requirements: list[dict[str, list[str]]] = [{}] if is_public else []
    alternatives = security.safe if methods <= SAFE_METHODS else security.unsafe
    if policy.kind == "download":
        # Such routes read no cookies.
        cookies = {name for name, each in security.schemes.items() if each.get("in") == "cookie"}
        alternatives = tuple(names for names in alternatives if cookies.isdisjoint(names))
    requirements += [{name: [] for name in names} for names in alternatives]
    return requirements


def _complete(
    operation: dict[str, Any],
    route: APIRoute,
    schemas: dict[str, Any],
    security: SecuritySchemes | None,
) -> None:
    policy = next(iter(policies(route.dependant)), Policy("ignored"))
    # Routes that read credentials themselves declare them with `openapi_extra`.
    operation.setdefault("security", _requirements(policy, route.methods or set(), security))
    if policy.permission:
        operation["x-permission"] = policy.permission
        _add_note(operation, f"Needs the permission `{policy.permission}`.")
    own = deprecation_of(route.dependant)
    if own is not None:
        operation["deprecated"] = True
        _add_note(operation, own.description)
    parameters = operation.setdefault("parameters", [])
    for model in _query_models(route.dependant):
        parameters.extend(_parameters(model, schemas))
    if not parameters:
        del operation["parameters"]
    if "requestBody" in operation:
        _describe_optional_body(operation["requestBody"])
        _describe_form(operation["requestBody"], schemas)
    # FastAPI's own 422 describes a body that is never sent.
    if "HTTPValidationError" in str(operation["responses"].get("422")):
        del operation["responses"]["422"]
    for status, response in error_responses(*_usual_errors(policy, route, operation)).items():
        known = operation["responses"].setdefault(str(status), response)
        if known is not response and "$ref" not in known:
            _add_problem(known, response["content"][PROBLEM_MEDIA])


def _add_note(operation: dict[str, Any], note: str) -> None:
    operation["description"] = f"{operation.get('description', '')}\n\n{note}".strip()


def _add_problem(response: dict[str, Any], problem: dict[str, Any]) -> None:
    """Add the problem document to the response that a route declares for this status."""
    media = response.setdefault("content", {}).setdefault(PROBLEM_MEDIA, {})
    media.setdefault("schema", problem["schema"])
    examples = {"example": {"value": media.pop("example")}} if "example" in media else {}
    media["examples"] = media.get("examples", {}) | examples | problem["examples"]


def _describe_optional_body(body: dict[str, Any]) -> None:
    # FastAPI describes an optional body as one that may be null.
    media = body["content"].get("application/json", {})
    options = media.get("schema", {}).get("anyOf", ())
    if {"type": "null"} in options:
        media["schema"] = next(option for option in options if option != {"type": "null"})
        body["required"] = False


def _describe_form(body: dict[str, Any], schemas: dict[str, Any]) -> None:
    # FastAPI does not know that other fields are refused.
    for media_type in FORM_TYPES & body["content"].keys():
        name = body["content"][media_type]["schema"].get("$ref", "").rpartition("/")[2]
        if name in schemas:
            schemas[name]["additionalProperties"] = False


def _usual_errors(
    policy: Policy, route: APIRoute, operation: dict[str, Any]
) -> list[type[AppError]]:
    """Return the errors implied by the policy and the parameters of an operation."""
    usual: list[type[AppError]] = [
        errors.BadRequestError,
        errors.InternalError,
        errors.HeadersTooLargeError,
        errors.NotAcceptableError,
    ]
    if policy.kind != "ignored":
        usual += [
            errors.InvalidTokenError,
            errors.TokenExpiredError,
            errors.ServiceUnavailableError,
        ]
        if (route.methods or set()) - {"GET", "HEAD"}:
            usual.append(errors.CSRFError)
    if policy.limited:
        usual += [RateLimitedError, errors.ServiceUnavailableError]
    if policy.kind in ("signed in", "permission"):
        usual.append(errors.NotAuthenticatedError)
    if policy.permission:
        usual.append(errors.PermissionDeniedError)
    if any(parameter["name"] == "cursor" for parameter in operation.get("parameters", ())):
        usual.append(errors.CursorRefusedError)
    if "requestBody" in operation:
        usual += [
            errors.PayloadTooLargeError,
            errors.RequestTimeoutError,
            errors.UnsupportedMediaTypeError,
            errors.ServiceUnavailableError,
        ]
    if isinstance(route, Route) and route.idempotent:
        usual += [errors.IdempotencyInProgressError, errors.IdempotencyKeyReusedError]
    usual.append(errors.InvalidInputError)
    return list(dict.fromkeys(usual))


def _query_models(dependant: Dependant) -> list[type[BaseModel]]:
    calls: list[Any] = [dependency.call for dependency in dependant.dependencies]
    return [call.model for call in calls if hasattr(call, "model")]


def _parameters(model: type[BaseModel], schemas: dict[str, Any]) -> list[dict[str, Any]]:
    described_model = model.model_json_schema(ref_template=REFERENCE)
    schemas |= described_model.get("$defs", {})
    parameters = []
    for name, described in described_model["properties"].items():
        schema = {k: v for k, v in described.items() if k not in ("anyOf", "default", "title")}
        # A query parameter can be absent, but it cannot be null.
        options = [item for item in described.get("anyOf", ()) if item.get("type") != "null"]
        if len(options) > 1:
            schema["anyOf"] = options
        elif options:
            schema = {**options[0], **schema}
        if isinstance(default := described.get("default"), bool | int):
            schema["default"] = default
        description = schema.pop("description", "")
        parameter = {"name": name, "in": "query", "description": description, "schema": schema}
        if schema.get("type") == "array":
            # Separated by commas; a parameter must not be repeated.
            parameter |= {"style": "form", "explode": False}
        parameters.append(parameter)
    return parameters
