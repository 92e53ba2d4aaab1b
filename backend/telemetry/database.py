"""The observer of a database: durations of statements, and waits for connections."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from backend.telemetry.statements import statement_name
from backend.telemetry.tracing import active_span, record_statement

if TYPE_CHECKING:
    from backend.telemetry.metrics import Metrics

log = structlog.get_logger()


class DatabaseObserver:
    """Logs slow statements by name, and records durations and waits in `metrics` if there are any.

    A statement is slow if it takes `slow` seconds or longer. Each statement of an active trace
    becomes a span of it.
    """

    def __init__(self, slow: float = math.inf, metrics: "Metrics | None" = None) -> None:
        self._slow = slow
        self._metrics = metrics

    def statement(self, sql: str, seconds: float, error: BaseException | None = None) -> None:
        """Record a statement that has ended, or failed with `error`."""
        if active_span.get() is not None:
            record_statement(statement_name(sql), seconds, error)
        if self._metrics is not None:
            self._metrics.statement(statement_name(sql), seconds)
        if seconds >= self._slow:
            duration = round(seconds * 1000, 2)
            log.warning("slow_statement", statement=statement_name(sql), duration_ms=duration)

    def waits_of(self, pool: str) -> Callable[[float, str], None] | None:
        """Return a recorder of waits for a connection of `pool`, as of `FairSemaphore`."""
        return None if self._metrics is None else self._metrics.waits_of(pool)


SILENT = DatabaseObserver()
