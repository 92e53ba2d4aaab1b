"""The router of every module: FastAPI's router with the rules of the HTTP contract.

Before the body is read, each route checks, in this order: the access policy, the Accept header, the
query parameters and the content type. Then it parses the body strictly.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import APIRouter, params
from fastapi.datastructures import DefaultPlaceholder
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, RouteContext
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from backend.core.authorization import Policy, policies
from backend.core.client_info import header_lines
from backend.core.context import context_of
from backend.core.deprecation import Deprecation
from backend.core.errors import NotAcceptableError
from backend.core.http.bodies import MAX_BODY_BYTES, BodyRequest
from backend.core.http.body_checks import body_check_of, further_errors
from backend.core.http.caching import caching, declaration_of
from backend.core.http.deprecations import announcing, deprecation_of, deprecations_in
from backend.core.http.forms import (
    FORM_TYPES,
    MULTIPART,
    Form,
    FormRefusedError,
    form_parameters,
)
from backend.core.http.rendering import rendered
from backend.core.http.request_checks import (
    JSON_RANGES,
    JSON_TYPES,
    accepts,
    check_content_coding,
    check_content_type,
    check_query,
    query_parameters,
    ranges_of,
)
from backend.core.http.resources import Handle, Resources, representing, resources_of
from backend.core.http.route_plan import plan_of
from backend.core.preconditions import Represent

F = TypeVar("F", bound=Callable[..., Any])
PATCH_TYPES = JSON_TYPES | {"application/merge-patch+json"}


class Route(APIRoute):
    """A route that applies its policy and checks the request before FastAPI processes it."""

    def __init__(self, *arguments: Any, max_body_size: int | None = None, **options: Any) -> None:
        # The path template of the resources that it creates, whether it takes an Idempotency-Key,
        # whether its responses carry secrets, and whether it exists in development only. The
        # router sets them.
        self.location: str | None = None
        self.idempotent = False
        self.carries_secrets = False
        self.development_only = False
        # The version of the API that replaces it, and how its own version represents resources.
        self.replaced_in: int | None = None
        self.represents: Mapping[type, Represent] = {}
        # Not passed on, because the 413 of FastAPI's own check is not a problem document.
        self._body_limit = max_body_size or MAX_BODY_BYTES
        super().__init__(*arguments, **options)

    @property
    def deprecations(self) -> list[Deprecation]:
        """Its own deprecation, or those of members of its bodies."""
        own = deprecation_of(self.dependant)
        if own is not None:
            return [own]
        body = self.body_field.field_info.annotation if self.body_field else None
        return deprecations_in(self.response_model, body)

    def get_route_handler(self) -> Handle:
        return self._complete(super().get_route_handler())

    def planned_handler(self, included: RouteContext) -> Handle | None:
        """Return a handler that does the same without FastAPI; None if it needs FastAPI."""
        plan = plan_of(included)
        return None if plan is None else self._complete(plan)

    def _complete(self, handle: Handle) -> Handle:
        handle = self._admitting(handle)
        if self.represents:
            handle = representing(self.represents, handle)
        deprecations = self.deprecations
        return announcing(deprecations, self.replaced_in, handle) if deprecations else handle

    def _admitting(self, handle: Handle) -> Handle:
        """Return a handler that checks the request before `handle` processes it."""
        cached = declaration_of(self.dependant)
        if cached is not None:
            handle = caching(cached, handle)
        policy = next(iter(policies(self.dependant)), Policy("signed in"))
        has_path_parameters = "{" in self.path
        parameters = frozenset(query_parameters(self.dependant))
        body = self.body_field
        declared = frozenset(self._response_types())
        offered = JSON_RANGES | ranges_of(declared)
        returns_any_type = "*/*" in declared
        may_have_content = bool((self.methods or set()) - {"GET", "HEAD"})
        media_types = self._media_types()
        form = None
        if body is not None and isinstance(body.field_info, params.Form):
            form = Form(form_parameters(self.dependant), self._embed_body_fields)
        limit = self._body_limit
        body_check = body_check_of(self.dependant)

        async def admit_then_handle(request: Request) -> Response:
            # `DELETE /notes/{id}` also matches `/notes/export`, which has no such method.
            if has_path_parameters and request.scope["path"] in context_of(request).literal_paths:
                raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED)
            await policy.authorize(request)
            accept = b",".join(header_lines(request.scope, b"accept"))
            if accept and accept != b"*/*":
                text = accept.decode("latin-1")
                if not (returns_any_type or accepts(text, offered)):
                    raise NotAcceptableError
            if request.scope["query_string"]:
                check_query(request, parameters)
            if may_have_content:
                check_content_coding(request)
            if body is None:
                return await handle(request)
            check_content_type(request, media_types)
            try:
                with BodyRequest(request.scope, request.receive, limit=limit, form=form) as read:
                    return await handle(read)
            except FormRefusedError as error:
                errors, sent = error.errors, error.sent
            except RequestValidationError as error:
                errors, sent = list(error.errors()), error.body
            if body_check is not None:
                errors += await further_errors(body_check, request, errors, sent)
            raise RequestValidationError(errors)

        return admit_then_handle

    def _response_types(self) -> Iterator[str]:
        """Yield the media types of this route's successful responses."""
        kind = self.response_class
        media_type = (kind.value if isinstance(kind, DefaultPlaceholder) else kind).media_type
        if media_type:
            yield media_type.partition(";")[0]
        for status, response in self.responses.items():
            if str(status)[0] in "2dD":  # 200, "200", "2XX", "default"
                yield from response.get("content") or ()

    def _media_types(self) -> frozenset[str]:
        """Return the content types of bodies that this route accepts."""
        described = self.body_field.field_info if self.body_field else None
        if isinstance(described, params.File):
            return frozenset({MULTIPART})
        if isinstance(described, params.Form):
            return FORM_TYPES
        return PATCH_TYPES if "PATCH" in (self.methods or ()) else JSON_TYPES


class Router(APIRouter):
    """An `APIRouter` whose routes follow the HTTP contract. The registry requires it.

    Handlers return schemas, which the router renders as responses. GET routes of one resource have
    the parameter `fields` and an `ETag`, unless `selects_fields` is False; other routes that return
    the same schema have the `ETag` too. With `development_only`, the routes do not exist in staging
    and production. With `carries_secrets`, their responses are never compressed, because the length
    of a compressed response discloses what it contains.
    """

    def __init__(
        self,
        *,
        max_body_size: int | None = None,
        selects_fields: bool = True,
        development_only: bool = False,
        carries_secrets: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(route_class=Route, redirect_slashes=False, **options)
        self._body_limit = max_body_size
        self._selects_fields = selects_fields
        self._development_only = development_only
        self._carries_secrets = carries_secrets
        self.arguments: dict[str, Any] = {
            "max_body_size": max_body_size,
            "selects_fields": selects_fields,
            "development_only": development_only,
            "carries_secrets": carries_secrets,
            **options,
        }

    def post(
        self,
        path: str,
        *,
        location: Callable[..., Awaitable[Any]] | str | None = None,
        idempotent: bool | None = None,
        **options: Any,
    ) -> Callable[[F], F]:
        """FastAPI's `post`, with the `Location` of the created resource.

        `location` is the handler in this router that reads the resource, or the path of one in
        another module, such as `/notes/{id}`. The path's parameters are members of the result.
        With `idempotent`, by default if the status is 201, a request may be repeated with an
        `Idempotency-Key`; its response is stored in the transaction of the handler's `Session`.
        """

        creates = options.get("status_code") == HTTPStatus.CREATED

        def add(endpoint: F) -> F:
            self.add_api_route(
                path,
                endpoint,
                methods=["POST"],
                location=location,
                idempotent=creates if idempotent is None else idempotent,
                **options,
            )
            return endpoint

        return add

    def add_api_route(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        location: Callable[..., Awaitable[Any]] | str | None = None,
        idempotent: bool = False,
        **options: Any,
    ) -> None:
        if options.get("status_code") == HTTPStatus.NO_CONTENT:
            # By default, FastAPI declares `application/json` for an empty response.
            options["response_class"] = Response
        options["max_body_size"] = options.get("max_body_size") or self._body_limit
        if callable(location):
            location = self._path_of(location)
        full_path, methods = self.prefix + path, options.get("methods") or ["GET"]
        status_code = options.get("status_code")
        respond = rendered(
            endpoint,
            full_path,
            methods,
            is_tagged=lambda result: result in self.resources.schemas,
            must_check=lambda: self.resources.are_changed_by(full_path, methods, status_code),
            status_code=status_code,
            location=location,
            idempotent=idempotent,
            selects_fields=self._selects_fields,
        )
        super().add_api_route(path, respond, **options)
        route = self.routes[-1]
        assert isinstance(route, Route)
        route.location, route.idempotent = location, idempotent
        route.carries_secrets = self._carries_secrets
        route.development_only = self._development_only

    @property
    def all_routes(self) -> Sequence[BaseRoute]:
        """Its routes, and those that the router of a later version takes over."""
        return self.routes

    @cached_property
    def resources(self) -> Resources:
        """The single resources of this router, once it has all its routes."""
        return resources_of(
            (route.path_format, route) for route in self.all_routes if isinstance(route, Route)
        )

    def _path_of(self, endpoint: Callable[..., Any]) -> str:
        for route in self.all_routes:
            if isinstance(route, Route) and inspect.unwrap(route.endpoint) is endpoint:
                return route.path_format
        raise TypeError(
            f"{endpoint.__name__} is not a handler of this router, or is defined below."
        )

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if self._development_only and not scope["app"].state.context.settings.is_local:
            return Match.NONE, {}
        return super().matches(scope)
