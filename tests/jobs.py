"""Run enqueued jobs in the process of the test, as a worker would."""

import asyncio
import contextvars
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from backend.core.context import Context
from backend.core.jobs import ORIGIN
from backend.core.module import Module
from backend.worker.job_execution import WorkerConfig, backoff_delay, is_last
from tests.applications import MODULES

_FETCH = text(
    "SELECT id, task_name, args, attempts FROM"
    " procrastinate_fetch_job_v2(ARRAY['default', 'events'], NULL) WHERE id IS NOT NULL"
)
_FINISH = text(
    "SELECT procrastinate_finish_job_v1(:id, CAST(:status AS procrastinate_job_status), :gone)"
)
_RETRY = text(
    "SELECT procrastinate_retry_job_v2(:id, now() + CAST(:pause AS interval), NULL, NULL, NULL)"
)


async def run_jobs(context: Context, modules: tuple[Module, ...] = MODULES) -> None:
    """Run all due jobs, and those they enqueue, in order, until none is left.

    A failed job is rescheduled or marked as failed, as by a worker; then its error is raised.
    Jobs with a cron run only if they are enqueued.
    """
    jobs = {job.name: job for module in modules for job in module.all_jobs}
    while (row := await _execute(context, _FETCH)) is not None:
        job = jobs[row.task_name]
        arguments = {name: value for name, value in row.args.items() if name != ORIGIN}
        # A new context, so that the job is not attributed to the test's last request.
        running = asyncio.create_task(
            _run(job.run(context, **arguments)), context=contextvars.Context()
        )
        try:
            await running
        except Exception as error:
            attempt = row.attempts + 1
            if is_last(job, attempt, error):
                await _execute(context, _FINISH, id=row.id, status="failed", gone=False)
            else:
                pause = timedelta(seconds=backoff_delay(attempt, WorkerConfig().first_pause))
                await _execute(context, _RETRY, id=row.id, pause=pause)
            raise
        await _execute(context, _FINISH, id=row.id, status="succeeded", gone=True)


async def _run(awaitable: Any) -> None:
    await awaitable


async def _execute(context: Context, statement: Any, **values: Any) -> Any:
    async with context.database.transaction() as session:
        return (await (await session.connection()).execute(statement, values)).first()
