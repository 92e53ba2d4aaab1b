"""The composition root: settings, then modules, then the application.

The only module with a global application, which `uvicorn backend.main:app` needs.
"""

import sys

from fastapi import FastAPI

from backend.core.app import create_app, create_context
from backend.core.context import Context
from backend.core.logging import configure_logging
from backend.core.metrics import make_metrics
from backend.core.module import Module
from backend.core.registry import RegistryError, discover, setting_kinds
from backend.core.settings import SettingsError, load_settings
from backend.core.signals import make_error_reports, make_tracing
from backend.core.telemetry_settings import TelemetrySettings


def compose() -> tuple[Context, tuple[Module, ...]]:
    """Create the context of this process from the environment; return it and the modules."""
    modules = discover()
    loaded = load_settings(setting_kinds(modules))
    telemetry = loaded[TelemetrySettings]
    assert isinstance(telemetry, TelemetrySettings)
    context = create_context(
        modules,
        loaded,
        metrics=make_metrics(telemetry.metrics_port),
        tracing=make_tracing(loaded),
        error_reports=make_error_reports(loaded),
    )
    return context, modules


def build() -> FastAPI:
    context, modules = compose()
    configure_logging(context.settings)
    return create_app(context, modules)


try:
    app = build()
except (RegistryError, SettingsError) as error:
    sys.exit(str(error))
