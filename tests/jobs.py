"""Work for later, done now: what a worker would do, in the process of the test."""

import asyncio
import contextvars
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from backend.core.context import Context
from backend.core.module import Module
from backend.worker.job_execution import WorkerConfig, backoff_delay, is_last
from tests.applications import MODULES

_FETCH = text(
    "SELECT id, task_name, args, attempts FROM"
    " procrastinate_fetch_job_v2(ARRAY['default'], NULL) WHERE id IS NOT NULL"
)
_FINISH = text(
    "SELECT procrastinate_finish_job_v1(:id, CAST(:status AS procrastinate_job_status), :gone)"
)
_RETRY = text(
    "SELECT procrastinate_retry_job_v2(:id, now() + CAST(:pause AS interval), NULL, NULL, NULL)"
)


async def run_jobs(context: Context, modules: tuple[Module, ...] = MODULES) -> None:
    """Run everything that is due, also what that enqueues, until nothing is left.

    One after the other, in the order they were enqueued. A job that fails is put off, or dead, as
    with a worker; then its error is raised here. Jobs with a cron run when they are enqueued.
    """
    jobs = {job.name: job for module in modules for job in module.jobs}
    while (found := await _execute(context, _FETCH)) is not None:
        job = jobs[found.task_name]
        # In a context of its own: it must not take the last request of the test for its origin.
        running = asyncio.create_task(
            _run(job.run(context, **found.args)), context=contextvars.Context()
        )
        try:
            await running
        except Exception as error:
            attempt = found.attempts + 1
            if is_last(job, attempt, error):
                await _execute(context, _FINISH, id=found.id, status="failed", gone=False)
            else:
                pause = timedelta(seconds=backoff_delay(attempt, WorkerConfig().first_pause))
                await _execute(context, _RETRY, id=found.id, pause=pause)
            raise
        await _execute(context, _FINISH, id=found.id, status="succeeded", gone=True)


async def _run(awaitable: Any) -> None:
    await awaitable


async def _execute(context: Context, statement: Any, **values: Any) -> Any:
    async with context.database.transaction() as session:
        return (await (await session.connection()).execute(statement, values)).first()
