"""The traces and error reports of a process, created from its settings."""

from collections.abc import Mapping
from platform import node
from typing import TYPE_CHECKING

from backend.core.settings import Settings, SettingsBase
from backend.core.telemetry_settings import TelemetrySettings, export_otel_variables
from backend.product import NAME, VERSION

if TYPE_CHECKING:
    from backend.telemetry.error_reports import ErrorReports
    from backend.telemetry.tracing import Tracing


def make_tracing(loaded: Mapping[type[SettingsBase], SettingsBase]) -> "Tracing | None":
    """Return the traces of this process; None without an endpoint."""
    settings, telemetry = _settings(loaded)
    endpoint = telemetry.traces_endpoint
    if endpoint is None:
        return None
    export_otel_variables()
    from backend.telemetry.span_export import start_export  # noqa: PLC0415  # takes 0.3 s

    return start_export(
        endpoint,
        {
            "service.name": NAME,
            "service.version": VERSION,
            "deployment.environment.name": settings.environment,
            "host.name": settings.instance or node(),
        },
    )


def make_error_reports(loaded: Mapping[type[SettingsBase], SettingsBase]) -> "ErrorReports | None":
    """Return the reports of this process; None without SENTRY_DSN."""
    settings, telemetry = _settings(loaded)
    if telemetry.sentry_dsn is None:
        return None
    from backend.telemetry.error_reports import ErrorReports  # noqa: PLC0415  # takes 0.2 s

    return ErrorReports(
        telemetry.sentry_dsn.get_secret_value(),
        environment=settings.environment,
        release=f"{NAME}@{VERSION}",
        instance=settings.instance or node(),
    )


def _settings(
    loaded: Mapping[type[SettingsBase], SettingsBase],
) -> tuple[Settings, TelemetrySettings]:
    settings, telemetry = loaded[Settings], loaded[TelemetrySettings]
    assert isinstance(settings, Settings)
    assert isinstance(telemetry, TelemetrySettings)
    return settings, telemetry
