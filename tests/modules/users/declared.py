"""Declarations of this module for the tests of all modules; see tests/declared.py."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from backend.core.context import Context
from backend.modules.users.schemas import InvitedUser, UserCreate, UserUpdate
from tests.actors import PASSWORD, Actor
from tests.declared import (
    API,
    OWN,
    PURE,
    USERS,
    Case,
    Change,
    Make,
    Resource,
    Rule,
    created,
    never_called,
    with_user,
    with_values,
)
from tests.images import png


async def me(_: Context, __: Actor) -> str:
    return f"{API}/users/me"


async def statistics(_: Context, __: Actor) -> str:
    return f"{API}/users/statistics"


async def account_of(_: Context, owner: Actor) -> UUID:
    return owner.id


USER = created("/users", {"email": "grace@example.com"})
THINGS: dict[str, Make] = {r"/api/v1/users/\{id\}": account_of}
RULES = (
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
)
CASES: dict[str, Case] = {
    "create_user": Case(
        with_values(
            new=UserCreate(email="new@example.com", password=PASSWORD), confirm=never_called
        ),
        USERS,
    ),
    "create_users": Case(
        with_values(
            new=[InvitedUser(email="new@example.com", roles=["admin"])], confirm=never_called
        ),
        USERS,
    ),
    "delete_user": Case(with_user(confirm=never_called), USERS),
    "end_sessions": Case(with_user(), USERS),
    "get_user": Case(with_user()),
    "invite_user": Case(with_user(), USERS),
    "set_roles": Case(with_user(roles=[]), USERS),
    "update_user": Case(
        with_user(changes=UserUpdate(full_name="Eve"), confirm=never_called), USERS
    ),
}
OPEN: dict[str, str] = {
    "access": "A part of statements.",
    "attempt_target": PURE,
    "author": "Everybody may see this part of an account.",
    "authors": "Everybody may see this part of an account.",
    "change_password": OWN,
    "check_password": "The password is the credential.",
    "count_mailed_link": "Counts what the client does.",
    "delete_me": OWN,
    "export_me": OWN,
    "delete_avatar": OWN,
    "get_me": OWN,
    "hash_new_password": PURE,
    "new_account_errors": PURE,
    "password_change_errors": OWN,
    "password_errors": PURE,
    "permission_set": PURE,
    "registration_mode": PURE,
    "replace_avatar": OWN,
    "update_me": OWN,
}
RESOURCES: dict[str, Resource] = {
    "/users/{id}": USER,
    "/users/me": me,
    "/users/statistics": statistics,
}
CHANGES: dict[str, Change] = {
    "PATCH /users/{id}": (USER, {"full_name": "Grace"}),
    "DELETE /users/{id}": (USER, None),
    "PUT /users/{id}/roles": (USER, {"roles": ["viewer"]}),
    "POST /users/{id}/logout-all": (USER, None),
    "PATCH /users/me": (me, {"full_name": "Ada"}),
    "PUT /users/me": (me, {"full_name": "Ada"}),
    "DELETE /users/me": (me, None),
    "PUT /users/me/password": (me, {"current_password": PASSWORD, "new_password": "long enough"}),
    "PUT /users/me/avatar": (me, {"files": {"file": png()}}),
    "DELETE /users/me/avatar": (me, None),
}
REPEATABLE: dict[str, Mapping[str, Any]] = {
    "/users": {"email": "new@example.com", "password": PASSWORD, "username": "newuser"},
    "/users/bulk": {"data": [{"email": f"{name}@example.com"} for name in ("a", "b")]},
}
