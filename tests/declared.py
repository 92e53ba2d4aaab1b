"""The declarations of a module for the tests that examine all modules.

The file `tests/modules/<module>/declared.py` may set the names below. A module without it is
examined as well, with defaults. The tables of a module that sets them must be complete.

RULES       every route with its policy, and the rules for rows of other users. By default the
            policies that the routes declare, without owners.
GRANTED     its permissions by built-in role. By default those of its features.
CASES       arguments of its service functions, if these use them before they refuse a caller.
OPEN        service functions that serve every caller, and the reason.
THINGS      functions that store a row of an owner, by path: for RULES with `others`.
RESOURCES   functions that return the address of a resource with an entity tag, by path.
CHANGES     the resource and the body of each request that changes one, by method and path.
REPEATABLE  the body of each request that takes an Idempotency-Key, by path.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any
from uuid import UUID

from backend.core.context import Context
from backend.core.errors import AppError
from backend.core.module import Module
from backend.core.registry import prefix_of, routes_of
from backend.db.base import Base
from tests.actors import Actor
from tests.applications import MODULES

API = "/api/v1"
NEVER = "never"


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


@dataclass(frozen=True)
class Place:
    """The context and the user that the arguments of a call refer to. `owner` owns all rows."""

    context: Context
    owner: Actor


Arguments = Callable[[Place], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True)
class Case:
    """Arguments of a call in addition to `context`, `session`, `reader` and `by`.

    held     permissions that do not suffice, such as those for another user's row
    missing  the module's not-found error, if an invisible row is treated like an absent one
    """

    arguments: Arguments
    held: frozenset[str] = frozenset()
    missing: type[AppError] | None = None


Make = Callable[[Context, Actor], Awaitable[UUID]]
Resource = Callable[[Context, Actor], Awaitable[str]]
Change = tuple[Resource, Mapping[str, Any] | None]


def declared(module: str) -> ModuleType | None:
    """Return the declarations of a module, or None if it has none."""
    name = f"tests.modules.{module}"
    if find_spec(name) is None or find_spec(f"{name}.declared") is None:
        return None
    return import_module(f"{name}.declared")


def declarations(name: str) -> Iterator[tuple[Module, Any]]:
    """Yield each module that sets this name, with its value."""
    for module in MODULES:
        value = getattr(declared(module.name), name, None)
        if value is not None:
            yield module, value


def table(name: str) -> dict[str, Any]:
    """Return the tables of this name of all modules as one."""
    return {key: entry for _, entries in declarations(name) for key, entry in entries.items()}


def operations_of(name: str) -> set[str]:
    """Return the operations, without prefix, of the modules that set this name."""
    return {
        f"{method} {prefix_of(module)}{route.path}".replace(API, "")
        for module, _ in declarations(name)
        for route in routes_of(module)
        for method in route.methods or ()
    }


FEATURES = tuple(feature for module in MODULES for feature in module.features)
EVERYTHING = frozenset(permission for feature in FEATURES for permission in feature.permissions)
# The permissions of a user who may manage accounts, but has fewer than the owner.
USERS = frozenset(each for each in EVERYTHING if each.startswith("users:"))


def permitted(role: str) -> frozenset[str]:
    """Return the permissions that a built-in role has at first."""
    return frozenset(
        f"{feature.name}:{action}"
        for feature in FEATURES
        for action in feature.granted_to.get(role, ())
    )


MEMBER = permitted("member")
OWN = "Concerns the principal's own account only."
PURE = "Reads and changes no row."


def with_user(**more: Any) -> Arguments:
    """Return arguments of a call about the owner's account."""

    async def arguments(place: Place) -> Mapping[str, Any]:
        return {"user_id": place.owner.id, **more}

    return arguments


def with_values(**values: Any) -> Arguments:
    async def arguments(_: Place) -> Mapping[str, Any]:
        return values

    return arguments


async def never_called() -> None:
    raise AssertionError


async def stored(context: Context, thing: Base, id: UUID) -> UUID:
    async with context.database.transaction() as session:
        session.add(thing)
    return id


def created(path: str, body: Mapping[str, Any], member: str = "id") -> Resource:
    async def create(_: Context, admin: Actor) -> str:
        answer = await admin.post(f"{API}{path}", json=body)
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == f"{API}{path}/{answer.json()[member]}"
        return f"{API}{path}/{answer.json()[member]}"

    return create
