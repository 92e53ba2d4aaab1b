"""The metrics of an application: their creation, and samples of its state."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from backend.core.background import in_background
from backend.core.context import Context
from backend.db.troubles import TROUBLES, database_trouble
from backend.telemetry.tracing import SQLSTATE, TROUBLE, annotate

if TYPE_CHECKING:
    from backend.telemetry.metrics import Metrics

log = structlog.get_logger()

INTERVAL_SECONDS = 1.0


def make_metrics(port: int | None) -> "Metrics | None":
    """Return the metrics of this process if they are served at a port."""
    if port is None:
        return None
    from backend.telemetry.metrics import Metrics  # noqa: PLC0415  # others need no client library

    metrics = Metrics()
    metrics.expect_troubles(TROUBLES)
    return metrics


def record_database_error(context: Context, error: BaseException) -> None:
    """Count the kind of a database error, and mark the active span with it.

    Do nothing for another error.
    """
    record_trouble(context, database_trouble(error))


def record_trouble(context: Context, found: Mapping[str, str | None]) -> None:
    """Record a result of `database_trouble` as `record_database_error` does."""
    trouble, sqlstate = found.get("trouble"), found.get("sqlstate")
    if trouble is None:
        return
    if context.metrics is not None:
        context.metrics.database_errors.labels(trouble).inc()
    annotate({TROUBLE: trouble} | ({} if sqlstate is None else {SQLSTATE: sqlstate}))


@asynccontextmanager
async def sampled(context: Context) -> AsyncIterator[None]:
    """During the block, sample the state of the application once a second if it has metrics."""
    if context.metrics is None:
        yield
        return
    try:
        async with in_background(_sample_always(context, context.metrics)):
            yield
    finally:
        context.metrics.flush()


async def _sample_always(context: Context, metrics: "Metrics") -> None:
    while True:
        try:
            sample(context, metrics)
        except Exception as error:  # noqa: BLE001  # the next sample may succeed
            log.debug("state_not_sampled", error=type(error).__name__)
        await asyncio.sleep(INTERVAL_SECONDS)


def sample(context: Context, metrics: "Metrics") -> None:
    """Set the gauges from the state in memory, without the database, which may be down."""
    metrics.flush()
    metrics.in_flight.set(metrics.requests_under_way)
    metrics.sample_circuits()
    database = context.database
    for name, pool in database.pools.items():
        metrics.pool_size.labels(name).set(pool.size)
        metrics.pool_in_use.labels(name).set(pool.in_use)
        metrics.pool_waiting.labels(name).set(pool.waiting)
    if "replica" in database.pools:
        metrics.replica_suspended.set(database.replica_problem() is not None)
        set_replica_lag(metrics, database.replica_lag)


def set_replica_lag(metrics: "Metrics", lag: float | None) -> None:
    """Set the lag in seconds, None if it is unknown."""
    # The largest value of all processes counts, and NaN would hide the others.
    metrics.replica_lag.set(-math.inf if lag is None else lag)
