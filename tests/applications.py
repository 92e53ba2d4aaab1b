"""Contexts and applications as tests need them: the real ones, on settings of their own."""

import asyncio
import os
import tempfile
from collections.abc import Sequence
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import SecretStr
from starlette.datastructures import State

from backend.core.app import create_app, create_context
from backend.core.context import Context
from backend.core.module import Module
from backend.core.registry import discover
from backend.core.settings import Settings, SettingsBase

MODULES = discover()
DEFAULTS: dict[str, Any] = {
    "environment": "test",
    "secret_key": SecretStr("a key for tests that is as long as a real one: 0123456789"),
    "data_dir": Path(tempfile.gettempdir()) / "trellis-tests-data",
    "database_pool_size": 5,
    # The work of a hash is not what tests are about.
    "bcrypt_cost": 4,
    # Nor are most of them about this.
    "rate_limit_enabled": False,
}


def setting_kinds(modules: tuple[Module, ...] = MODULES) -> list[type[SettingsBase]]:
    return [Settings, *(module.settings for module in modules if module.settings)]


# A developer's environment must not decide what tests see.
for _kind in setting_kinds():
    for _name in _kind.model_fields:
        os.environ.pop(_name.upper(), None)


@cache
def _settings(kind: type[SettingsBase], values: tuple[tuple[str, Any], ...]) -> SettingsBase:
    # Settings are immutable, and reading them takes longer than many tests.
    return kind(_env_file=None, **dict(values))


def make_context(url: str, modules: tuple[Module, ...] = MODULES, **settings: Any) -> Context:
    """A context on the database at `url`; its database must be closed."""
    values = {**DEFAULTS, "database_url": SecretStr(url), **settings}
    loaded = {
        kind: _settings(
            kind, tuple((name, values[name]) for name in kind.model_fields if name in values)
        )
        for kind in setting_kinds(modules)
    }
    return create_context(modules, loaded)


_built: dict[object, tuple[FastAPI, Sequence[Module]]] = {}


def make_app(context: Context, modules: Sequence[Module] = MODULES) -> FastAPI:
    """An application on `context`.

    Applications of equal modules and settings share routes, middleware and OpenAPI document, since
    building those takes longer than most tests. Each has a state of its own.
    """
    key = *map(id, modules), repr(context.settings.model_dump(exclude={"database_url"}))
    if key not in _built:
        # The modules are kept too: no other may get their ids.
        _built[key] = create_app(context, modules), modules
    made = copy(_built[key][0])
    made.state = State({"context": context})
    return made


def run_startup(url: str, modules: tuple[Module, ...] = MODULES) -> None:
    """What the modules do once when an application starts on this database."""

    async def run() -> None:
        context = make_context(url, modules)
        for module in modules:
            if module.startup:
                await module.startup(context)
        await context.database.close()

    asyncio.run(run())
