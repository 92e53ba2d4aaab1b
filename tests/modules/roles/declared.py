"""Declarations of this module for the tests of all modules; see tests/declared.py."""

from collections.abc import Mapping
from typing import Any

from backend.modules.roles.schemas import RoleCreate, RoleUpdate
from tests.declared import FEATURES, USERS, Case, Change, Resource, Rule, created, with_values

ROLES = frozenset({"roles:read", "roles:write"})
ROLE = created("/roles", {"name": "reader", "permissions": ["users:read"]}, "name")
RULES = (
    Rule("GET /api/v1/permissions", "signed in"),
    Rule("GET /api/v1/roles", "roles:read"),
    Rule("POST /api/v1/roles", "roles:write"),
    Rule("GET /api/v1/roles/{name}", "roles:read"),
    Rule("PATCH /api/v1/roles/{name}", "roles:write"),
    Rule("DELETE /api/v1/roles/{name}", "roles:write"),
)
CASES: dict[str, Case] = {
    "create_role": Case(
        with_values(
            new=RoleCreate(name="drinkers", permissions=["users:delete"]), features=FEATURES
        ),
        ROLES,
    ),
    "delete_role": Case(with_values(name="admin"), ROLES),
    "lock_existing": Case(with_values(names=["admin"]), USERS),
    "permissions_of": Case(with_values(roles=["admin"]), USERS),
    "role_errors": Case(with_values(roles=["admin"]), USERS),
    "update_role": Case(
        with_values(name="admin", changes=RoleUpdate(description=None), features=FEATURES), ROLES
    ),
}
OPEN: dict[str, str] = {
    "grants": "A part of statements.",
    "list_permissions": "Shows what the modules declare.",
}
RESOURCES: dict[str, Resource] = {
    "/roles/{name}": ROLE,
}
CHANGES: dict[str, Change] = {
    "PATCH /roles/{name}": (ROLE, {"description": "Reads."}),
    "DELETE /roles/{name}": (ROLE, None),
}
REPEATABLE: dict[str, Mapping[str, Any]] = {
    "/roles": {"name": "reader"},
}
