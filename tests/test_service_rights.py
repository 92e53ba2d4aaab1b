"""Public service functions refuse callers without rights, whichever route they are called from.

Every public function of every module's `service.py`, its `__all__` included, is called with a
principal that holds no permission. Where rows belong to somebody, it is called once more with the
permissions of a member, on the row of somebody else. Both calls are refused.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.errors import AppError, PermissionDeniedError
from backend.core.principal import Principal
from tests.actors import Actor, ActorFactory
from tests.applications import MODULES

# Modules whose functions are not listed yet.
NOT_YET = {"articles", "audit", "items", "jobs", "mail", "roles", "storage"}
NOT_YET |= {"accounts", "auth", "users"}


@dataclass(frozen=True)
class Place:
    """What the arguments of a call are taken from. `owner` has all the rows."""

    context: Context
    owner: Actor


Arguments = Callable[[Place], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True)
class Case:
    """Arguments of a call beside `context`, `session`, `reader` and `by`.

    held     permissions that do not suffice for the row of somebody else; without any there is
             no row that belongs to somebody
    missing  the module's not-found error, where an invisible row is answered like an absent one
    """

    arguments: Arguments
    held: frozenset[str] = frozenset()
    missing: type[AppError] | None = None


async def nothing(_: Place) -> Mapping[str, Any]:
    return {}


# By `module.function`.
CASES: dict[str, Case] = {}
# Functions that serve every caller, and the reason.
OPEN: dict[str, str] = {
    "health.readiness": "Probes are anonymous.",
}


def public_functions(service: ModuleType) -> Iterator[str]:
    """Functions that other modules and routers may call."""
    listed = getattr(service, "__all__", ())
    for name, value in vars(service).items():
        if inspect.isclass(value):
            continue
        own = getattr(value, "__module__", None) == service.__name__
        if (name in listed or own) and callable(value) and not name.startswith("_"):
            yield name


def service_of(module: str) -> ModuleType | None:
    try:
        return import_module(f"backend.modules.{module}.service")
    except ModuleNotFoundError:
        return None


FUNCTIONS = {
    f"{module.name}.{name}": getattr(service, name)
    for module in MODULES
    if module.name not in NOT_YET and (service := service_of(module.name))
    for name in public_functions(service)
}


def test_every_public_service_function_is_listed() -> None:
    known = CASES.keys() | OPEN.keys()
    sentences = [
        *(
            f"{name} is new: add its arguments to CASES, or to OPEN the reason why everybody may "
            "call it."
            for name in sorted(FUNCTIONS.keys() - known)
        ),
        *(f"{name} is listed but does not exist." for name in sorted(known - FUNCTIONS.keys())),
        *(f"{name} is in CASES and in OPEN." for name in sorted(CASES.keys() & OPEN.keys())),
        *(
            f"{name} takes no `by`, the principal whose rights it checks."
            for name in sorted(CASES.keys() & FUNCTIONS.keys())
            if "by" not in inspect.signature(FUNCTIONS[name]).parameters
        ),
    ]
    assert not sentences, "\n" + "\n".join(sentences)


@pytest.fixture
async def place(context: Context, actor: ActorFactory) -> Place:
    return Place(context, await actor("owner"))


async def call(name: str, place: Place, by: Principal, session: AsyncSession) -> None:
    values = await CASES[name].arguments(place)
    given = {
        "context": place.context,
        "session": session,
        "reader": place.context.database.primary,
        "by": by,
    }
    wanted = inspect.signature(FUNCTIONS[name]).parameters
    found = FUNCTIONS[name](**{k: v for k, v in given.items() if k in wanted}, **values)
    if isinstance(found, AbstractAsyncContextManager):
        async with found:
            return
    if inspect.isasyncgen(found):
        async for _ in found:
            return
    if inspect.isawaitable(found):
        await found


async def assert_refused(name: str, place: Place, permissions: frozenset[str]) -> None:
    by = Principal(uuid4(), uuid4(), permissions)
    refusals: tuple[type[AppError], ...] = (PermissionDeniedError,)
    if permissions and (missing := CASES[name].missing):
        refusals += (missing,)
    with pytest.raises(refusals):
        async with place.context.database.transaction() as session:
            await call(name, place, by, session)


@pytest.mark.parametrize("name", CASES)
async def test_a_principal_without_permissions_is_refused(name: str, place: Place) -> None:
    await assert_refused(name, place, frozenset())


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.held])
async def test_the_row_of_somebody_else_is_refused(name: str, place: Place) -> None:
    await assert_refused(name, place, CASES[name].held)
