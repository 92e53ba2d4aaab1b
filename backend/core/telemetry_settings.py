"""The settings of metrics, traces and error reports."""

import os
from typing import Literal

from dotenv import dotenv_values
from pydantic import Field

from backend.core.setting_types import ReceiverURL, SentryDSN
from backend.core.settings import SettingsBase


class TelemetrySettings(SettingsBase):
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port at which `backend serve` serves `GET /metrics` for Prometheus, on its "
        "own host, for all its processes together. Unset: no metrics.",
    )
    worker_metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port at which `backend worker` serves `GET /metrics`. Unset: no metrics.",
    )
    otel_exporter_otlp_endpoint: ReceiverURL | None = Field(
        None,
        description="OTLP/HTTP receiver of traces, such as `http://collector:4318`. Unset: no "
        "traces. OpenTelemetry's SDK reads the other OTEL_* variables, such as "
        "OTEL_TRACES_SAMPLER and OTEL_SERVICE_NAME.",
    )
    otel_exporter_otlp_traces_endpoint: ReceiverURL | None = Field(
        None,
        description="The same for traces alone, with its path: `http://collector:4318/v1/traces`.",
    )
    otel_exporter_otlp_protocol: Literal["http/protobuf"] = Field(
        "http/protobuf", description="Protocol of the receiver; there is no other."
    )
    otel_traces_exporter: Literal["otlp", "none"] = Field(
        "otlp", description="`none`: no traces, whatever endpoint is set."
    )
    sentry_dsn: SentryDSN | None = Field(
        None,
        description="Address of a Sentry project, which gets unhandled errors without personal "
        "data. Unset: no reports.",
    )

    @property
    def traces_endpoint(self) -> str | None:
        """The URL to which spans are sent; None if there are no traces."""
        if self.otel_traces_exporter == "none":
            return None
        base = self.otel_exporter_otlp_endpoint
        own = f"{base.rstrip('/')}/v1/traces" if base is not None else None
        return self.otel_exporter_otlp_traces_endpoint or own


def export_otel_variables() -> None:
    """Set the OTEL_* variables of `.env` in the environment, where the SDK reads them."""
    for name, value in dotenv_values(".env").items():
        if name.startswith("OTEL_") and value:
            os.environ.setdefault(name, value)
