"""The settings of metrics, traces and error reports."""

from pydantic import Field

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
