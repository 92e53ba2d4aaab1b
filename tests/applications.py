"""Contexts and applications with the settings of tests."""

import asyncio
import os
import tempfile
from collections.abc import Sequence
from copy import copy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from pydantic import SecretStr
from starlette.datastructures import State

from backend.core.app import create_app, create_context
from backend.core.context import Context
from backend.core.module import Module
from backend.core.registry import discover
from backend.core.registry import setting_kinds as kinds_beside_core
from backend.core.settings import Settings, SettingsBase
from backend.telemetry.metrics import Metrics
from backend.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from backend.telemetry.error_reports import ErrorReports

MODULES = discover()
DEFAULTS: dict[str, Any] = {
    "environment": "test",
    # As in the mails that tests expect, whatever the product is called.
    "product_name": "Trellis",
    "secret_key": SecretStr("a key for tests that is as long as a real one: 0123456789"),
    "data_dir": Path(tempfile.gettempdir()) / "trellis-tests-data",
    "database_pool_size": 10,
    # The lowest cost, for speed.
    "bcrypt_cost": 4,
    # Tests of rate limits turn them on.
    "rate_limit_enabled": False,
}


def setting_kinds(modules: tuple[Module, ...] = MODULES) -> list[type[SettingsBase]]:
    return [Settings, *kinds_beside_core(modules)]


# The developer's environment must not influence tests.
for _kind in setting_kinds():
    for _name in _kind.model_fields:
        os.environ.pop(_name.upper(), None)


@cache
def _settings(kind: type[SettingsBase], values: tuple[tuple[str, Any], ...]) -> SettingsBase:
    # Settings are immutable; reading them takes longer than many tests.
    return kind(_env_file=None, **dict(values))


def make_context(
    url: str,
    modules: tuple[Module, ...] = MODULES,
    *,
    metrics: Metrics | None = None,
    tracing: Tracing | None = None,
    error_reports: "ErrorReports | None" = None,
    **settings: Any,
) -> Context:
    """Return a context for the database at `url`; the caller closes `context.database`."""
    values = {**DEFAULTS, "database_url": SecretStr(url), **settings}
    loaded = {
        kind: _settings(
            kind, tuple((name, values[name]) for name in kind.model_fields if name in values)
        )
        for kind in setting_kinds(modules)
    }
    return create_context(
        modules, loaded, metrics=metrics, tracing=tracing, error_reports=error_reports
    )


_built: dict[object, tuple[FastAPI, Sequence[Module]]] = {}


def make_app(context: Context, modules: Sequence[Module] = MODULES) -> FastAPI:
    """Return an application with `context` as its state.

    Applications with equal modules and settings share routes, middleware and OpenAPI document,
    because building them takes longer than most tests.
    """
    if context.metrics or context.tracing or context.error_reports:
        # Its middleware records into those of this context.
        return create_app(context, modules)
    key = *map(id, modules), repr(context.settings.model_dump(exclude={"database_url"}))
    if key not in _built:
        # The modules are kept, so that no other object gets their ids.
        _built[key] = create_app(context, modules), modules
    app = copy(_built[key][0])
    app.state = State({"context": context})
    return app


def run_startup(url: str, modules: tuple[Module, ...] = MODULES) -> None:
    """Run the `startup` functions of the modules on this database."""

    async def run() -> None:
        context = make_context(url, modules)
        for module in modules:
            if module.startup:
                await module.startup(context)
        await context.database.close()

    asyncio.run(run())
