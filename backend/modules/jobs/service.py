"""Use cases of jobs, for operators: list them, and retry those that failed."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context, NotReadyError
from backend.core.lists import ListQuery, Page, read_page
from backend.core.preconditions import check_preconditions
from backend.core.principal import Caller, System
from backend.db.query_runner import QueryRunner
from backend.modules.jobs import queries
from backend.modules.jobs.exceptions import JobNotFailedError, JobNotFoundError
from backend.modules.jobs.schemas import JobOut

_STATUS = text("SELECT status FROM procrastinate_jobs WHERE id = :id FOR UPDATE")
# The attempts are reset; otherwise the job would fail for good after the next one.
_RETRY = text(
    "UPDATE procrastinate_jobs SET status = 'todo', attempts = 0, scheduled_at = NULL,"
    " worker_id = NULL WHERE id = :id"
)
_DELETE_OLD = text(
    "DELETE FROM procrastinate_jobs WHERE status IN ('failed', 'succeeded', 'cancelled', 'aborted')"
    " AND (SELECT max(at) FROM procrastinate_events WHERE job_id = procrastinate_jobs.id)"
    " < now() - interval '30 days'"
)


async def list_jobs(reader: QueryRunner, by: Caller, query: ListQuery) -> Page[JobOut]:
    by.must("jobs:read")
    return await read_page(reader, queries.JOBS, query)


async def get_job(reader: QueryRunner, by: Caller, job_id: int) -> JobOut:
    by.must("jobs:read")
    row = await reader.first(queries.JOB, id=job_id)
    if row is None:
        raise JobNotFoundError
    return JobOut.from_row(row)


async def retry_job(session: AsyncSession, by: Caller, job_id: int) -> JobOut:
    """Requeue a failed job with as many attempts as a new one."""
    by.must("jobs:write")
    connection = await session.connection()
    status = (await connection.execute(_STATUS, {"id": job_id})).scalar_one_or_none()
    if status is None:
        raise JobNotFoundError
    await check_preconditions(lambda: _stored(connection, job_id))
    if status != "failed":
        raise JobNotFailedError
    await connection.execute(_RETRY, {"id": job_id})
    return await _stored(connection, job_id)


async def _stored(connection: AsyncConnection, job_id: int) -> JobOut:
    found = (await connection.execute(queries.JOB_BY_ID, {"id": job_id})).mappings().one()
    return JobOut.from_row(dict(found))


async def delete_old(context: Context, by: System) -> None:
    """Delete the jobs that failed more than 30 days ago."""
    by.must_be_system()
    async with context.database.transaction() as session:
        await (await session.connection()).execute(_DELETE_OLD)


async def check_worker(context: Context) -> None:
    """Raise `NotReadyError` unless a worker has sent a heartbeat within the last minute."""
    if await context.database.primary.first(queries.LIVE_WORKER) is None:
        raise NotReadyError("No worker runs, so jobs and mail wait: start `backend worker`.")
