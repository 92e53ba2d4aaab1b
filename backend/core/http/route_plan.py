"""Calls handlers by a plan that is made once for each route.

FastAPI walks through the tree of a route's dependencies for each request, examines each of them,
and joins their results: a fifth to a quarter of the time of a short request. Its layers around the
handler close files and dependencies with `yield`, which these routes do not have, and take another
tenth. A plan has the usual parts only. A route with any other takes FastAPI's own path, which does
the same.
"""

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import fields
from typing import Any, NamedTuple

from fastapi import params
from fastapi._compat import Undefined
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_body_to_args, request_params_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.routing import RouteContext
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Handle = Callable[[Request], Coroutine[Any, Any, Response]]
# Starlette allows functions here that are no coroutines; the application has none.
ErrorHandlers = Mapping[Any, Callable[[Request, Any], Any]]
# Set in the `__dict__` of an endpoint that returns a response whenever it returns.
ALWAYS_RESPONDS = "always_responds"
# The members of a `Dependant` that a plan knows; whatever else one has is left to FastAPI.
_COMMON = {"name", "call", "path", "use_cache", "request_param_name"}
_OF_ROUTE = _COMMON | {
    "scope",
    "dependencies",
    "path_params",
    "body_params",
    "response_param_name",
}


# FastAPI's name of the stack that it closes before it sends the response.
_STACK = "fastapi_function_astack"
# The stack of a planned request, if it has one. Copies of its scope share the list.
_PLANNED = "planned_stacks"


def exit_stack_of(scope: Scope) -> AsyncExitStack:
    """Return the stack that is closed before the response is sent.

    A dependency with `yield` would commit afterwards, so a failed COMMIT would already be
    acknowledged. Most requests that a plan handles need no stack. Outside of a request, `KeyError`
    is raised, because nothing would close the stack.
    """
    if _STACK in scope:
        stack: AsyncExitStack = scope[_STACK]
        return stack
    stacks: list[AsyncExitStack] = scope[_PLANNED]
    if not stacks:
        stacks.append(AsyncExitStack())
    return stacks[0]


class _Step(NamedTuple):
    """A call of a dependency, whose result is passed to the endpoint by these names."""

    call: Callable[..., Awaitable[Any]]
    request: str | None
    names: list[str]


def plan_of(route: RouteContext) -> Handle | None:
    """Return a handler that does the same as FastAPI's; None if a plan cannot replace it.

    `route` is the route as it was included, with the dependencies of the routers that include it.
    """
    dependant, embeds_body = route.dependant, route._embed_body_fields  # noqa: SLF001  # as FastAPI
    steps = _steps(dependant)
    is_form = route.body_field and isinstance(route.body_field.field_info, params.Form)
    if steps is None or is_form:
        return None
    call, path_params, body_params = dependant.call, dependant.path_params, dependant.body_params
    assert call is not None
    request_name, response_name = dependant.request_param_name, dependant.response_param_name

    async def handle(request: Request) -> Response:
        # FastAPI's order: the body is read first, and parameters are validated last.
        body = await _body(request) if body_params else Undefined
        values: dict[str, Any] = {}
        errors: list[Any] = []
        for step in steps:
            value = await (step.call(**{step.request: request}) if step.request else step.call())
            for name in step.names:
                values[name] = value
        if path_params:
            found, errors = request_params_to_args(path_params, request.path_params)
            values.update(found)
        if body_params:
            found, invalid = await request_body_to_args(body_params, body, embeds_body)
            values.update(found)
            errors += invalid
        if errors:
            raise RequestValidationError(errors, body=None if body is Undefined else body)
        if request_name:
            values[request_name] = request
        if response_name:
            values[response_name] = _own_response()
        response: Response = await call(**values)
        return response

    return handle


def responding(handle: Handle, handlers: ErrorHandlers) -> ASGIApp:
    """Return an application that sends the response of `handle`, or that to its error.

    `handlers` are those of the FastAPI application by class of error, all coroutine functions.
    """

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        stacks: list[AsyncExitStack] = []
        scope[_PLANNED] = stacks
        request = Request(scope, receive, send)
        try:
            try:
                response = await handle(request)
            except BaseException as error:
                if stacks:
                    await stacks[0].__aexit__(type(error), error, error.__traceback__)
                raise
            if stacks:
                await stacks[0].aclose()
        except Exception as error:
            # As with Starlette, that of the nearest base class.
            known = (handlers[kind] for kind in type(error).__mro__ if kind in handlers)
            handler = next(known, None)
            if handler is None:
                raise
            response = await handler(request, error)
        await response(scope, receive, send)

    return respond


def _steps(dependant: Dependant) -> list[_Step] | None:
    """Return the calls of the dependencies in order; None if a plan cannot replace FastAPI."""
    if _has_others(dependant, _OF_ROUTE) or not getattr(dependant.call, ALWAYS_RESPONDS, False):
        return None
    steps: list[_Step] = []
    for each in dependant.dependencies:
        call = each.call
        if call is None or _has_others(each, _COMMON) or not _is_coroutine_function(call):
            return None
        names = [each.name] if each.name else []
        repeated = next((step for step in steps if each.use_cache and step.call == call), None)
        if repeated is not None:
            repeated.names.extend(names)
        else:
            steps.append(_Step(call, each.request_param_name, names))
    return steps


def _has_others(dependant: Dependant, known: set[str]) -> bool:
    names = {each.name for each in fields(dependant)}
    return any(getattr(dependant, name) for name in names - known)


def _is_coroutine_function(call: Callable[..., Any]) -> bool:
    # A dependency is a function, or an instance of a class with the method `__call__`.
    function = call if inspect.isroutine(call) else type(call).__call__
    return inspect.iscoroutinefunction(function)


async def _body(request: Request) -> Any:
    """Return the parsed body; its content type has been checked already."""
    try:
        return await request.json() if await request.body() else Undefined
    except HTTPException:
        raise
    except Exception as error:
        raise HTTPException(400, "There was an error parsing the body") from error


def _own_response() -> Response:
    """Return a response on which a handler may set headers and a status for its own."""
    # Created with a status that has no body, and therefore no header of its length.
    response = Response(status_code=204)
    response.status_code = None  # type: ignore[assignment]  # as FastAPI's
    return response
