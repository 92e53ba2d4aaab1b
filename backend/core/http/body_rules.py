"""Rules of a body that need more than its types, told together with what the types refuse."""

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
class Refused:
    """A request whose body the types refuse.

    path    parameters of its path, as they were sent
    sent    members of the body that are good by themselves, as they were sent
    """

    context: Context
    caller: Principal | None
    path: Mapping[str, Any]
    sent: Mapping[str, Any]


Rule = Callable[[Refused], Awaitable[list[FieldError]]]


@dataclass(frozen=True)
class BodyRule:
    """A dependency that only says which rule a route has; see `also_checks`."""

    rule: Rule

    async def __call__(self) -> None:
        """A body that the types accept is checked by the service."""


def also_checks(rule: Rule) -> Any:
    """For `dependencies=`: what else is wrong with a body that the types have refused.

    So somebody who fills in a form learns of all its errors at once. The rule answers with errors
    of the same fields as the service that refuses a body of the right types; it hashes and
    changes nothing.
    """
    return Depends(BodyRule(rule))


def rule_of(dependant: Dependant) -> Rule | None:
    found = (each.call for each in dependant.dependencies)
    return next((call.rule for call in found if isinstance(call, BodyRule)), None)


async def further_errors(
    rule: Rule, request: Request, found: Sequence[Any], body: Any
) -> list[dict[str, Any]]:
    """Errors that the rule finds in members that pydantic's errors `found` do not name."""
    if not isinstance(body, dict | FormData) or any(each["loc"][0] == "path" for each in found):
        return []
    refused = {each["loc"][1] for each in found if len(each["loc"]) > 1}
    sent = {name: value for name, value in body.items() if name not in refused}
    caller = request.scope.get("principal")
    errors = await rule(Refused(context_of(request), caller, request.path_params, sent))
    told = [
        {"loc": tuple(each.field.split(".")), "type": each.code, "msg": each.message}
        for each in errors
    ]
    return [each for each in told if each["loc"][1] not in refused]
