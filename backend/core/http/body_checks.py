"""Checks of a body beyond its types; their errors are returned together with those of the types."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Depends
from fastapi.dependencies.models import Dependant
from starlette.datastructures import FormData
from starlette.requests import Request

from backend.core.context import Context, context_of
from backend.core.errors import FieldError
from backend.core.principal import Principal


@dataclass(frozen=True)
class InvalidBody:
    """A request whose body has errors of type.

    path    parameters of its path, as they were sent
    sent    members of the body without errors, as they were sent
    """

    context: Context
    caller: Principal | None
    path: Mapping[str, Any]
    sent: Mapping[str, Any]


BodyCheck = Callable[[InvalidBody], Awaitable[list[FieldError]]]


@dataclass(frozen=True)
class BodyCheckDependency:
    """A dependency that declares the body check of a route; see `also_checks`."""

    body_check: BodyCheck

    async def __call__(self) -> None:
        """Do nothing: the service checks bodies without errors of type."""


def also_checks(body_check: BodyCheck) -> Any:
    """Return a dependency for `dependencies=` that adds the errors of `body_check` to others.

    The client then gets all errors of a form in one response. The check must return the same errors
    as the service does for a body without errors of type, and must not hash or change anything.
    """
    return Depends(BodyCheckDependency(body_check))


def body_check_of(dependant: Dependant) -> BodyCheck | None:
    calls = (dependency.call for dependency in dependant.dependencies)
    return next((call.body_check for call in calls if isinstance(call, BodyCheckDependency)), None)


async def further_errors(
    body_check: BodyCheck, request: Request, type_errors: Sequence[Any], body: Any
) -> list[dict[str, Any]]:
    """Return the errors of the check in members without errors of type."""
    if not isinstance(body, dict | FormData) or any(
        error["loc"][0] == "path" for error in type_errors
    ):
        return []
    invalid = {error["loc"][1] for error in type_errors if len(error["loc"]) > 1}
    sent = {name: value for name, value in body.items() if name not in invalid}
    caller = request.scope.get("principal")
    errors = await body_check(InvalidBody(context_of(request), caller, request.path_params, sent))
    further = [
        {"loc": tuple(error.field.split(".")), "type": error.code, "msg": error.message}
        for error in errors
    ]
    return [error for error in further if error["loc"][1] not in invalid]
