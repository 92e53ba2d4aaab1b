"""Metrics of the queue: jobs that wait or have failed, and the age of the oldest."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import structlog

from backend.core.context import Context
from backend.db.query_runner import Statement

if TYPE_CHECKING:
    from backend.telemetry.metrics import Metrics

log = structlog.get_logger()

INTERVAL_SECONDS = 10.0
# Jobs of another release.
OTHER = "other"
# Ids are in the order of creation, so one look at the events finds the oldest of each name.
_QUEUE = Statement(
    """
SELECT name, waiting, dead, extract(epoch FROM clock_timestamp() - least(
    due, (SELECT min(at) FROM procrastinate_events WHERE job_id = first)))::float AS age
FROM (
    SELECT task_name AS name,
        count(*) FILTER (WHERE status = 'todo') AS waiting,
        count(*) FILTER (WHERE status = 'failed') AS dead,
        min(scheduled_at) FILTER (WHERE status = 'todo') AS due,
        min(id) FILTER (WHERE status = 'todo' AND scheduled_at IS NULL) AS first
    FROM procrastinate_jobs
    WHERE status = 'failed' OR status = 'todo' AND coalesce(scheduled_at, now()) <= now()
    GROUP BY task_name
) AS jobs
"""
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
    task = asyncio.create_task(_sample_always(context, context.metrics, names))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _sample_always(context: Context, metrics: "Metrics", names: Collection[str]) -> None:
    while True:
        try:
            await sample_queue(context, metrics, names)
        except Exception as error:  # noqa: BLE001  # the worker reports that the database is away
            log.debug("queue_not_sampled", error=type(error).__name__)
            # Old numbers would look like present ones.
            for gauge in (metrics.jobs_waiting, metrics.oldest_job_seconds, metrics.jobs_dead):
                gauge.clear()
        await asyncio.sleep(INTERVAL_SECONDS)


async def sample_queue(context: Context, metrics: "Metrics", names: Collection[str]) -> None:
    """Read the queue, and set its metrics."""
    found = {name: [0, 0.0, 0] for name in (*names, OTHER)}
    for row in await context.database.primary.all(_QUEUE):
        sums = found[row["name"] if row["name"] in found else OTHER]
        sums[0] += row["waiting"]
        sums[1] = max(sums[1], row["age"] or 0)
        sums[2] += row["dead"]
    for name, (waiting, age, dead) in found.items():
        metrics.jobs_waiting.labels(name).set(waiting)
        metrics.oldest_job_seconds.labels(name).set(age)
        metrics.jobs_dead.labels(name).set(dead)
