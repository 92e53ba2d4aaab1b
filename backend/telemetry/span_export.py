"""The export of traces by OpenTelemetry's SDK, which takes a quarter of a second to import.

The SDK reads the other OTEL_* variables itself: sampler, headers, timeout, limits of its queue.
"""

import logging
from collections.abc import Mapping, Sequence

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SpanExporter,
    SpanExportResult,
)

from backend.telemetry.tracing import Tracing

log = structlog.get_logger()


class _LoggedExporter(SpanExporter):
    """Logs once when spans begin to get lost, and once when they arrive again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        if is_away != self._is_away:
            self._is_away = is_away
            if is_away:
                log.warning("traces_away", reason="The receiver of traces does not accept spans.")
            else:
                log.info("traces_accepted_again")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def start_export(endpoint: str, attributes: Mapping[str, str]) -> Tracing:
    """Export spans to the URL `endpoint` in a thread of this process, until `Tracing.close`.

    `attributes` describe the process; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override them.
    Spans that the receiver does not accept in time are dropped.
    """
    # They write a line per batch, with the address.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    chosen = Resource.create().attributes
    # The SDK has a name for services without one.
    overriding = {
        name: value
        for name, value in chosen.items()
        if name != SERVICE_NAME or not str(value).startswith("unknown_service")
    }
    provider = TracerProvider(
        resource=Resource({**attributes, **overriding}),
        # Otherwise an exit waits for a receiver that does not reply.
        shutdown_on_exit=False,
    )
    exporter = _LoggedExporter(OTLPSpanExporter(endpoint=endpoint))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    # Warnings about OTEL_* variables are written above. Later ones quote headers of requests, or
    # come with each span that the full queue drops.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return Tracing(provider, provider.shutdown)
