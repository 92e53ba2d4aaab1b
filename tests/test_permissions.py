"""Every route has the listed policy, and every role gets the expected status on every route.

A new or changed route fails here until this table contains it. docs/permissions.md is generated
from the code alone, and compared with this table too.
"""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from backend.core.authorization import policies
from backend.core.registry import prefix_of, routes_of
from tests.actors import Actor, ActorFactory, Client
from tests.applications import MODULES


@dataclass(frozen=True)
class Rule:
    """The policy that a route declares, and its rules for resources of other users.

    others   the permission for resources of other users, on routes of owned resources
    refusal  the status without that permission
    blind    whether an unknown id gets the same status
    """

    route: str
    policy: str
    others: str | None = None
    refusal: int = 404
    blind: bool = False

    @property
    def path(self) -> str:
        return self.route.partition(" ")[2]


NEVER = "never"


RULES = (
    Rule("GET /health", "ignored"),
    Rule("GET /health/live", "ignored"),
    Rule("GET /health/ready", "ignored"),
    # A signature may be the credential.
    Rule("GET /files/{key}", "download"),
    Rule("GET /dev/mailbox", "ignored"),
    Rule("DELETE /dev/mailbox", "ignored"),
    Rule("POST /api/v1/auth/register", "public"),
    Rule("POST /api/v1/auth/forgot-password", "ignored"),
    Rule("POST /api/v1/auth/reset-password", "ignored"),
    Rule("POST /api/v1/auth/verify-email", "ignored"),
    Rule("POST /api/v1/auth/verify-email/request", "ignored"),
    Rule("POST /api/v1/auth/login", "ignored"),
    # These two read a credential of their own.
    Rule("POST /api/v1/auth/refresh", "ignored"),
    Rule("POST /api/v1/auth/logout", "ignored"),
    Rule("POST /api/v1/auth/logout-all", "signed in"),
    Rule("GET /api/v1/auth/sessions", "signed in", others=NEVER),
    Rule("DELETE /api/v1/auth/sessions/{id}", "signed in", others=NEVER),
    Rule("GET /api/v1/users/me", "signed in"),
    Rule("PUT /api/v1/users/me", "signed in"),
    Rule("PATCH /api/v1/users/me", "signed in"),
    Rule("DELETE /api/v1/users/me", "signed in"),
    Rule("PUT /api/v1/users/me/password", "signed in"),
    Rule("PUT /api/v1/users/me/avatar", "signed in"),
    Rule("DELETE /api/v1/users/me/avatar", "signed in"),
    Rule("GET /api/v1/users/me/statistics", "signed in"),
    Rule("GET /api/v1/users/me/export", "signed in"),
    Rule("GET /api/v1/users/statistics", "users:read"),
    Rule("GET /api/v1/users/export", "users:read"),
    Rule("GET /api/v1/users", "users:read"),
    Rule("POST /api/v1/users", "users:write"),
    Rule("POST /api/v1/users/bulk", "users:write"),
    Rule("GET /api/v1/users/{id}", "signed in", others="users:read", refusal=403, blind=True),
    Rule("PATCH /api/v1/users/{id}", "users:write"),
    Rule("DELETE /api/v1/users/{id}", "users:delete"),
    Rule("PUT /api/v1/users/{id}/roles", "users:admin"),
    Rule("POST /api/v1/users/{id}/logout-all", "users:admin"),
    Rule("GET /api/v1/permissions", "signed in"),
    Rule("GET /api/v1/roles", "roles:read"),
    Rule("POST /api/v1/roles", "roles:write"),
    Rule("GET /api/v1/roles/{name}", "roles:read"),
    Rule("PATCH /api/v1/roles/{name}", "roles:write"),
    Rule("DELETE /api/v1/roles/{name}", "roles:write"),
    Rule("GET /api/v1/items", "items:read", others="items:admin"),
    Rule("POST /api/v1/items", "items:write"),
    Rule("POST /api/v1/items/bulk", "items:write"),
    Rule("GET /api/v1/items/{id}", "items:read", others="items:admin"),
    Rule("PATCH /api/v1/items/{id}", "items:write", others="items:admin"),
    Rule("DELETE /api/v1/items/{id}", "items:delete", others="items:admin"),
    Rule("GET /api/v1/articles", "public", others="articles:admin"),
    Rule("POST /api/v1/articles", "articles:write"),
    Rule("GET /api/v1/articles/{id}", "public", others="articles:admin"),
    Rule("PATCH /api/v1/articles/{id}", "articles:write", others="articles:admin"),
    Rule("DELETE /api/v1/articles/{id}", "articles:delete", others="articles:admin"),
    Rule("POST /api/v1/articles/{id}/publish", "articles:publish", others="articles:admin"),
    Rule(
        "POST /api/v1/articles/{id}/unpublish",
        "articles:publish",
        others="articles:admin",
        refusal=403,
    ),
    Rule("POST /api/v1/articles/{id}/archive", "articles:publish", others="articles:admin"),
    Rule("GET /api/v1/audit-events", "audit:read"),
    Rule("GET /api/v1/jobs", "jobs:read"),
    Rule("GET /api/v1/jobs/{id}", "jobs:read"),
    Rule("POST /api/v1/jobs/{id}/retry", "jobs:write"),
)

_OWN_ITEMS = {"items:read", "items:write", "items:delete"}
_OWN_ARTICLES = {"articles:read", "articles:write", "articles:publish", "articles:delete"}
ROLES = {
    "nobody": set[str](),
    "viewer": {"items:read", "articles:read"},
    "member": _OWN_ITEMS | _OWN_ARTICLES,
    "editor": _OWN_ITEMS | _OWN_ARTICLES | {"articles:admin"},
}


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


def declared() -> dict[str, str]:
    """Return every route of every module with the policy it declares."""
    return {
        f"{method} {prefix_of(module)}{route.path}": str(policies(route.dependant)[0])
        for module in MODULES
        for route in routes_of(module)
        for method in route.methods or ()
    }


def test_every_route_is_listed_with_its_policy() -> None:
    listed = {rule.route: rule.policy for rule in RULES}
    assert len(listed) == len(RULES), "a route is listed twice"
    found = declared()
    sentences = [
        *(f"{route} is {found[route]!r} and not listed." for route in found.keys() - listed.keys()),
        *(f"{route} is listed but does not exist." for route in listed.keys() - found.keys()),
        *(
            f"{route} is listed as {listed[route]!r} but declares {found[route]!r}."
            for route in found.keys() & listed.keys()
            if found[route] != listed[route]
        ),
    ]
    assert not sentences, " ".join(["Update RULES in this file:", *sorted(sentences)])


async def call(caller: Actor | Client, rule: Rule, body: Any) -> httpx.Response:
    method, _, path = rule.route.partition(" ")
    takes_body = method in ("POST", "PUT", "PATCH") and not path.endswith(
        ("publish", "archive", "logout-all", "retry")
    )
    answer: httpx.Response = await caller.request(
        method,
        path.format(id=uuid4(), name="unknown", key="unknown"),
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


def test_the_roles_written_here_are_those_the_modules_declare() -> None:
    granted: dict[str, set[str]] = {role: set() for role in ROLES}
    for module in MODULES:
        for feature in module.features:
            for role, actions in feature.granted_to.items():
                granted[role] |= {f"{feature.name}:{action}" for action in actions}
    assert granted == ROLES
