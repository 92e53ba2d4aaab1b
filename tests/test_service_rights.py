"""Public service functions refuse principals without permissions.

The tests call every public function of every `service.py`, including those in `__all__`, with a
principal without permissions, and functions for trusted callers with one that has all permissions.
All calls must be refused. A function that uses its arguments before, or whose refusal depends on
more than one permission, needs a case in `tests/modules/<module>/declared.py`; a function that
serves every caller needs the reason there.
"""

import inspect
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn, get_origin
from uuid import uuid4

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.errors import AppError, PermissionDeniedError
from backend.core.principal import Principal, System
from tests.actors import ActorFactory
from tests.applications import MODULES
from tests.declared import EVERYTHING, Case, Place, declarations

# By `module.function`.
CASES: dict[str, Case] = {
    f"{module.name}.{name}": case
    for module, cases in declarations("CASES")
    for name, case in cases.items()
}
OPEN: dict[str, str] = {
    f"{module.name}.{name}": reason
    for module, reasons in declarations("OPEN")
    for name, reason in reasons.items()
}


class UsedTooEarlyError(Exception):
    """A function uses an argument before it checks the rights of its principal."""


class Unused:
    """An argument that a function must not use before it checks the rights of its principal."""

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def __getattribute__(self, _: str) -> NoReturn:
        raise UsedTooEarlyError(object.__getattribute__(self, "_name"))

    def __iter__(self) -> Iterator[Any]:
        raise UsedTooEarlyError(object.__getattribute__(self, "_name"))

    def __len__(self) -> int:
        raise UsedTooEarlyError(object.__getattribute__(self, "_name"))


def public_functions(service: ModuleType) -> Iterator[str]:
    """Return the functions that other modules and routers may call."""
    listed = getattr(service, "__all__", ())
    for name, value in vars(service).items():
        if inspect.isclass(value) or get_origin(value) is not None:
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
    if (service := service_of(module.name))
    for name in public_functions(service)
}
REFUSING = sorted(FUNCTIONS.keys() - OPEN.keys())


def parameters(name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(FUNCTIONS[name]).parameters)


def is_for_system(name: str) -> bool:
    by = parameters(name).get("by")
    return by is not None and by.annotation is System


def test_every_public_service_function_checks_a_principal_or_says_why_not() -> None:
    known = CASES.keys() | OPEN.keys()
    sentences = [
        *(
            f"{name} takes no `by`, the principal whose rights it checks: add it, or add to OPEN "
            f"in tests/modules/{name.split('.')[0]}/declared.py why everybody may call it."
            for name in REFUSING
            if "by" not in parameters(name)
        ),
        *(f"{name} is listed but does not exist." for name in sorted(known - FUNCTIONS.keys())),
        *(f"{name} is in CASES and in OPEN." for name in sorted(CASES.keys() & OPEN.keys())),
        *(
            f"{name} refuses callers with all permissions: annotate `by: System`."
            for name, case in CASES.items()
            if case.held == EVERYTHING and not case.missing and not is_for_system(name)
        ),
    ]
    assert not sentences, "\n" + "\n".join(sentences)


@pytest.fixture
async def place(context: Context, actor: ActorFactory) -> Place:
    return Place(context, await actor("owner"))


async def call(name: str, place: Place, by: Principal, session: AsyncSession) -> None:
    wanted = parameters(name)
    given = {
        "context": place.context,
        "session": session,
        "reader": place.context.database.primary,
        "by": by,
    }
    if name in CASES:
        values = dict(await CASES[name].arguments(place))
    else:
        values = {
            each: Unused(each)
            for each, parameter in wanted.items()
            if each not in given and parameter.default is parameter.empty
        }
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
    if name in CASES and (missing := CASES[name].missing):
        refusals += (missing,)
    file = f"tests/modules/{name.split('.', maxsplit=1)[0]}/declared.py"
    try:
        async with place.context.database.transaction() as session:
            await call(name, place, by, session)
    except refusals:
        return
    except UsedTooEarlyError as error:
        pytest.fail(
            f"{name} uses `{error}` before it checks the rights of `by`: call `by.must(...)` "
            f"first, or add arguments to CASES, or a reason to OPEN, in {file}."
        )
    pytest.fail(
        f"{name} refuses nobody: call `by.must(...)`, or add to OPEN in {file} why everybody may "
        "call it."
    )


@pytest.mark.parametrize("name", [name for name in REFUSING if "by" in parameters(name)])
async def test_a_principal_without_permissions_is_refused(name: str, place: Place) -> None:
    await assert_refused(name, place, frozenset())


@pytest.mark.parametrize(
    "name",
    [name for name in REFUSING if is_for_system(name) or (name in CASES and CASES[name].held)],
)
async def test_permissions_that_do_not_suffice_are_refused(name: str, place: Place) -> None:
    held = EVERYTHING if is_for_system(name) else CASES[name].held
    await assert_refused(name, place, held)
