"""The observer of a database: durations of statements, and waits for connections."""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from backend.telemetry.statements import statement_name
from backend.telemetry.tracing import active_span, record_statement, record_wait

if TYPE_CHECKING:
    from backend.telemetry.metrics import Metrics

log = structlog.get_logger()

# A pool is busy if requests wait this long for its connections, all together, within a minute.
BUSY_SECONDS, MINUTE = 1.0, 60.0


class DatabaseObserver:
    """Logs slow statements by name and busy pools, and records both in `metrics` if there are any.

    A statement is slow if it takes `slow` seconds or longer. Each statement and each wait for a
    connection of an active trace becomes a span of it.
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

    def waits_of(self, pool: str, size: int) -> Callable[[float, str, int], None]:
        """Return a recorder of waits for one of `size` connections, as of `FairSemaphore`."""
        count = None if self._metrics is None else self._metrics.waits_of(pool)
        logged = BusyPoolLog(pool, size)

        def record(seconds: float, outcome: str, place: int) -> None:
            if count is not None:
                count(seconds, outcome)
            if active_span.get() is not None:
                record_wait(pool, seconds, outcome)
            logged.add(seconds, place, time.monotonic())

        return record


class BusyPoolLog:
    """Logs that a pool is busy, once a minute, as soon as the waits of this minute are too long."""

    def __init__(self, pool: str, size: int) -> None:
        self._pool = pool
        self._size = size
        self._began_at = -math.inf
        self._waits = self._longest_queue = 0
        self._seconds = 0.0
        self._is_logged = False

    def add(self, seconds: float, place: int, now: float) -> None:
        """Add a wait that has ended; `place` is that in the queue, `now` of a monotonic clock."""
        if now - self._began_at >= MINUTE:
            self._began_at = now - seconds
            self._waits, self._longest_queue, self._seconds = 0, 0, 0.0
            self._is_logged = False
        self._waits += 1
        self._longest_queue = max(self._longest_queue, place)
        self._seconds += seconds
        if self._is_logged or self._seconds < BUSY_SECONDS:
            return
        self._is_logged = True
        log.warning(
            "pool_busy",
            pool=self._pool,
            size=self._size,
            waiting=self._longest_queue,
            waits=self._waits,
            seconds=round(self._seconds, 2),
            within=round(now - self._began_at, 2),
            setting="DATABASE_POOL_SIZE",
        )


SILENT = DatabaseObserver()
