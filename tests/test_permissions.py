"""Every route has the listed policy, and every role gets the expected status on every route.

The shipped modules list their routes in `tests/modules/<module>/declared.py`, so that a changed
policy fails here. The policies of other modules are those that their routes declare.
docs/permissions.md is generated from the code alone, and compared with these lists too.
"""

import re
from typing import Any
from uuid import uuid4

import httpx
import pytest

from backend.core.authorization import policies
from backend.core.module import Module
from backend.core.registry import prefix_of, routes_of
from tests.actors import Actor, ActorFactory, Client
from tests.applications import MODULES
from tests.declared import NEVER, Rule, declarations, permitted

ROLE_NAMES = ("nobody", "viewer", "member", "editor")


def declared() -> dict[str, str]:
    """Return every route of every module with the policy it declares."""
    return {route: policy for module in MODULES for route, policy in policies_of(module).items()}


def policies_of(module: Module) -> dict[str, str]:
    return {
        f"{method} {prefix_of(module)}{route.path}": str(policies(route.dependant)[0])
        for route in routes_of(module)
        for method in route.methods or ()
    }


LISTED: dict[str, tuple[Rule, ...]] = {
    module.name: rules for module, rules in declarations("RULES")
}
RULES = [
    rule
    for module in MODULES
    for rule in LISTED.get(
        module.name, [Rule(route, policy) for route, policy in policies_of(module).items()]
    )
]


def granted_to(role: str) -> set[str]:
    """Return the role's permissions at first, as the tests of the modules list them."""
    listed = {module.name: granted.get(role, set()) for module, granted in declarations("GRANTED")}
    found: set[str] = set()
    for module in MODULES:
        own = {name for each in module.features for name in each.permissions}
        found |= listed.get(module.name, permitted(role) & own)
    return found


ROLES = {role: granted_to(role) for role in ROLE_NAMES}


def holds(role: str, permission: str) -> bool:
    if permission == NEVER or role == "anonymous":
        return False
    return role == "admin" or permission in ROLES[role]


def admitted(rule: Rule, caller: str) -> str:
    """Return the result of the policy alone: 401, 403 or "allowed"."""
    if rule.policy in ("ignored", "download", "public"):
        return "allowed"
    if caller == "anonymous":
        return "401"
    return "allowed" if rule.policy == "signed in" or holds(caller, rule.policy) else "403"


def expected(rule: Rule, caller: str) -> str:
    """Return the status of a rejection, or "allowed" for other responses to a made-up request."""
    found = admitted(rule, caller)
    if rule.blind and rule.others and found == "allowed" and not holds(caller, rule.others):
        return str(rule.refusal)
    return found


def outcome(answer: httpx.Response) -> str:
    assert answer.status_code < 500, answer.text
    return str(answer.status_code) if answer.status_code in (401, 403) else "allowed"


@pytest.mark.parametrize(
    "module", [each for each in MODULES if each.name in LISTED], ids=lambda each: each.name
)
def test_every_route_is_listed_with_its_policy(module: Module) -> None:
    rules, found = LISTED[module.name], policies_of(module)
    listed = {rule.route: rule.policy for rule in rules}
    assert len(listed) == len(rules), "a route is listed twice"
    sentences = [
        *(f"{route} is {found[route]!r} and not listed." for route in found.keys() - listed.keys()),
        *(f"{route} is listed but does not exist." for route in listed.keys() - found.keys()),
        *(
            f"{route} is listed as {listed[route]!r} but declares {found[route]!r}."
            for route in found.keys() & listed.keys()
            if found[route] != listed[route]
        ),
    ]
    where = f"Update RULES in tests/modules/{module.name}/declared.py:"
    assert not sentences, " ".join([where, *sorted(sentences)])


async def call(caller: Actor | Client, rule: Rule, body: Any) -> httpx.Response:
    method, _, path = rule.route.partition(" ")
    takes_body = method in ("POST", "PUT", "PATCH") and not path.endswith(
        ("publish", "archive", "logout-all", "retry")
    )
    answer: httpx.Response = await caller.request(
        method,
        re.sub(r"\{(\w+)\}", lambda it: str(uuid4()) if it[1].endswith("id") else "unknown", path),
        json=body if takes_body else None,
    )
    return answer


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.route)
async def test_every_role_on_every_route(rule: Rule, client: Client, actor: ActorFactory) -> None:
    callers: dict[str, Actor | Client] = {"anonymous": client}
    for role in (*ROLES, "admin"):
        roles = () if role == "nobody" else (role,)
        callers[role] = await actor(role, roles=roles)
    # An invalid body: callers without permission must not get its validation errors.
    made_up = {"no such member": ["made up"]}
    for name, caller in callers.items():
        answer = await call(caller, rule, made_up)
        assert outcome(answer) == expected(rule, name), f"{rule.route} by {name}: {answer.text}"


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if rule.policy != "ignored"], ids=lambda rule: rule.route
)
async def test_a_broken_token_is_401_everywhere(rule: Rule, client: Client) -> None:
    client.headers["Authorization"] = "Bearer broken"
    answer = await call(client, rule, {})
    assert answer.status_code == 401
    assert answer.json()["error"] == "INVALID_TOKEN"


def test_the_listed_permissions_of_roles_are_those_of_the_modules() -> None:
    assert {role: set(permitted(role)) for role in ROLE_NAMES} == ROLES, (
        "Update GRANTED in the declared.py of the module's tests, or granted_to in its manifest."
    )
