"""Metrics of the queue: jobs that wait or have failed, and the age of the oldest."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from backend.core.background import in_background
from backend.core.context import Context
from backend.db.fair_semaphore import urgent
from backend.db.queries import Statement

if TYPE_CHECKING:
    from backend.telemetry.metrics import Metrics

log = structlog.get_logger()

INTERVAL_SECONDS = 10.0
# After an outage of this length, old numbers would look like present ones.
KEPT_SECONDS = 60.0
# Jobs of another release.
OTHER = "other"
# Ids are in the order of creation, so one look at the events finds the oldest of each name.
_WAITING = Statement(
    """
SELECT name, waiting, extract(epoch FROM clock_timestamp() - least(
    due, (SELECT min(at) FROM procrastinate_events WHERE job_id = first)))::float AS age
FROM (
    SELECT task_name AS name,
        count(*) AS waiting,
        min(scheduled_at) AS due,
        min(id) FILTER (WHERE scheduled_at IS NULL) AS first
    FROM procrastinate_jobs
    WHERE status = 'todo' AND coalesce(scheduled_at, now()) <= now()
    GROUP BY task_name
) AS jobs
"""
)
# The index `ix_jobs_failed` has them alone.
DEAD = Statement(
    "SELECT task_name AS name, count(*) AS dead FROM procrastinate_jobs"
    " WHERE status = 'failed' GROUP BY task_name"
)


@asynccontextmanager
async def queue_sampled(context: Context, names: Collection[str]) -> AsyncIterator[None]:
    """During the block, sample the jobs with these names in the queue if there are metrics.

    Jobs with other names count as one.
    """
    if context.metrics is None:
        yield
        return
    context.metrics.expect_jobs(names)
    async with in_background(_sample_always(context, context.metrics, names)):
        yield


async def _sample_always(context: Context, metrics: "Metrics", names: Collection[str]) -> None:
    # Otherwise the numbers would be missing during overload, when they matter most.
    urgent.set(True)
    sampled_at = time.monotonic()
    while True:
        now = time.monotonic()
        try:
            await sample_queue(context, metrics, names)
            await sample_dead(context, metrics, names)
            sampled_at = now
        except Exception as error:  # noqa: BLE001  # the worker reports that the database is away
            log.debug("queue_not_sampled", error=type(error).__name__)
            if now - sampled_at >= KEPT_SECONDS:
                for gauge in (metrics.jobs_waiting, metrics.oldest_job_seconds, metrics.jobs_dead):
                    gauge.clear()
        await asyncio.sleep(INTERVAL_SECONDS)


async def sample_queue(context: Context, metrics: "Metrics", names: Collection[str]) -> None:
    """Read the jobs that wait, and set their metrics."""
    found = {name: [0, 0.0] for name in (*names, OTHER)}
    for row in await context.database.primary.all(_WAITING):
        sums = found[row["name"] if row["name"] in found else OTHER]
        sums[0] += row["waiting"]
        sums[1] = max(sums[1], row["age"] or 0)
    for name, (waiting, age) in found.items():
        metrics.jobs_waiting.labels(name).set(waiting)
        metrics.oldest_job_seconds.labels(name).set(age)


async def sample_dead(context: Context, metrics: "Metrics", names: Collection[str]) -> None:
    """Count the jobs that have failed for good, and set their metric."""
    found = dict.fromkeys((*names, OTHER), 0)
    for row in await context.database.primary.all(DEAD):
        found[row["name"] if row["name"] in found else OTHER] += row["dead"]
    for name, dead in found.items():
        metrics.jobs_dead.labels(name).set(dead)
