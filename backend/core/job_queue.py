"""The queue as a worker sees it: procrastinate's, made so that no job is lost or left behind."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString

import psycopg
import structlog
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job as StoredJob
from procrastinate.jobs import Status
from procrastinate.manager import JobManager
from procrastinate.psycopg_connector import PsycopgConnector
from psycopg.rows import dict_row

from backend.core.attempts import Pace, is_last, pause_after
from backend.core.jobs import Job
from backend.db.errors import is_unavailable

log = structlog.get_logger()

# Any number no other lock of this application uses.
_RESCUE_LOCK = 7_265_331
_HEARTBEAT = "UPDATE procrastinate_workers SET last_heartbeat = now() WHERE id = %s"
# Added to each of the following. A worker that was taken for dead, and was not, has lost its jobs.
_OWN = "WHERE id = %(job_id)s AND status = 'doing' AND worker_id = %(worker_id)s RETURNING id"
_DELETE = "DELETE FROM procrastinate_jobs"
_BURY = (
    "UPDATE procrastinate_jobs SET status = 'failed', abort_requested = false,"
    " attempts = attempts + 1"
)
_GIVE_BACK = (
    "UPDATE procrastinate_jobs SET status = 'todo', worker_id = NULL, abort_requested = false"
)
_RETRY = f"{_GIVE_BACK}, attempts = attempts + 1, scheduled_at = %(retry_at)s"
_AGE = "SELECT now() - min(at) FROM procrastinate_events WHERE job_id = procrastinate_jobs.id"
# What is never known again is looked at more and more seldom.
_PUT_OFF = (
    f"{_GIVE_BACK}, scheduled_at = now()"
    f" + greatest(interval '30 seconds', least(interval '6 hours', ({_AGE}) / 4))"
)
_ABANDONED = """
SELECT id, task_name, attempts, worker_id FROM procrastinate_jobs
WHERE status = 'doing' AND (worker_id IS NULL OR worker_id IN (
    SELECT id FROM procrastinate_workers
    WHERE last_heartbeat < now() - make_interval(secs => %s)
))
"""
_RESCUE = """
UPDATE procrastinate_jobs SET status = %(status)s, worker_id = NULL, abort_requested = false,
    attempts = attempts + 1, scheduled_at = now() + make_interval(secs => %(pause)s)
WHERE id = %(id)s AND status = 'doing' AND worker_id IS NOT DISTINCT FROM %(worker_id)s
"""
_PRUNE = "SELECT procrastinate_prune_stalled_workers_v1(%s)"


class WorkerDeclaredDeadError(Exception):
    """Others have taken this worker for dead, and its jobs: it must begin anew."""


Outcome = tuple[LiteralString, StoredJob, dict[str, Any]]


@dataclass
class Remains:
    """What a worker of this process could not tell the database any more; the next one does.

    Without that, jobs that were done would be run again, and wait to be missed for that.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    workers: list[int] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)


class Queue(JobManager):
    """What procrastinate's worker calls, for the jobs that this release knows by name."""

    def __init__(
        self, connector: PsycopgConnector, jobs: Mapping[str, Job], pace: Pace, remains: Remains
    ) -> None:
        super().__init__(connector)
        self._pool = connector.pool
        self._jobs = jobs
        self._pace = pace
        self._remains = remains
        self.broken: Exception | None = None
        self.on_broken: Callable[[], None] = lambda: None

    async def take_over(self) -> None:
        """Make up for what was left undone, here and by workers that are dead."""
        while self._remains.outcomes:
            statement, job, values = self._remains.outcomes[-1]
            try:
                await self._change(statement, job, **values)
            except ConnectorException as error:
                if is_unavailable(error.__cause__ or error):
                    raise
            # If the database will not have it, the job counts as abandoned: it is tried again.
            self._remains.outcomes.pop()
        while self._remains.workers:
            await super().unregister_worker(self._remains.workers[-1])
            self._remains.workers.pop()
        await self.rescue()

    async def unregister_worker(self, worker_id: int) -> None:
        if self.broken is not None:
            self._remains.workers.append(worker_id)
            return
        await super().unregister_worker(worker_id)

    async def fetch_job(self, queues: Any, worker_id: int) -> StoredJob | None:
        with self._or_break():
            return await self._fetch_known(queues, worker_id)

    async def _fetch_known(self, queues: Any, worker_id: int) -> StoredJob | None:
        while True:
            job = await super().fetch_job(queues, worker_id)
            if job is None or job.task_name in self._jobs:
                return job
            # Another release's, which may come yet, or come back.
            await self._change(_PUT_OFF, job)
            if job.task_name not in self._remains.unknown:
                self._remains.unknown.add(job.task_name)
                log.warning("job_unknown", job=job.task_name, job_id=job.id)

    async def finish_job(self, job: StoredJob, status: Status, delete_job: bool) -> None:
        await self._settle(_DELETE if delete_job else _BURY, job)

    async def retry_job(
        self, job: StoredJob, retry_at: datetime | None = None, *_: Any, **__: Any
    ) -> None:
        if retry_at is None:
            # Interrupted, which is not the job's fault: it does not count.
            await self._settle(_GIVE_BACK, job)
        else:
            await self._settle(_RETRY, job, retry_at=retry_at)

    async def _settle(self, statement: LiteralString, job: StoredJob, **values: Any) -> None:
        try:
            if not await self._change(statement, job, **values):
                log.warning("job_was_taken", job=job.task_name, job_id=job.id)
        except ConnectorException as error:
            # For the database it still runs, and would for as long as this worker lives.
            self._remains.outcomes.append((statement, job, values))
            self._break(error)

    async def _change(self, statement: LiteralString, job: StoredJob, **values: Any) -> bool:
        """Whether the job was still this worker's."""
        changed = await self.connector.execute_query_all_async(
            f"{statement} {_OWN}", job_id=job.id, worker_id=job.worker_id, **values
        )
        return bool(changed)

    def _break(self, error: Exception) -> None:
        self.broken = self.broken or error
        self.on_broken()

    @contextmanager
    def _or_break(self) -> Iterator[None]:
        """A worker does not always notice when what it does beside its jobs has failed."""
        try:
            yield
        except Exception as error:
            self._break(error)
            raise

    async def listen_for_jobs(self, **options: Any) -> None:
        with self._or_break():
            await super().listen_for_jobs(**options)

    async def defer_periodic_job(self, *arguments: Any, **options: Any) -> int | None:
        with self._or_break():
            return await super().defer_periodic_job(*arguments, **options)

    async def update_heartbeat(self, worker_id: int) -> None:
        """Give a sign of life, then take care of what dead workers have left."""
        with self._or_break():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_HEARTBEAT, [worker_id])
                if not cursor.rowcount:
                    raise WorkerDeclaredDeadError
            await self.rescue()

    async def rescue(self) -> None:
        """Give back the jobs of workers without a heartbeat, and forget those workers."""
        async with self._pool.connection() as connection, connection.transaction():
            cursor = connection.cursor(row_factory=dict_row)
            # Two rescuers of one job: the second would take it from whoever runs it by then.
            await cursor.execute("SELECT pg_try_advisory_xact_lock(%s) AS ours", [_RESCUE_LOCK])
            turn = await cursor.fetchone()
            if not turn or not turn["ours"]:
                return
            await cursor.execute(_ABANDONED, [self._pace.dead_after])
            for row in await cursor.fetchall():
                await self._rescue_one(cursor, row)
            await cursor.execute(_PRUNE, [self._pace.dead_after])

    async def _rescue_one(self, cursor: psycopg.AsyncCursor[Any], row: dict[str, Any]) -> None:
        attempt = row["attempts"] + 1
        job = self._jobs.get(row["task_name"])
        dead = job is not None and is_last(job, attempt)
        pause = 0 if dead else pause_after(attempt, self._pace.first_pause)
        status = "failed" if dead else "todo"
        await cursor.execute(_RESCUE, {**row, "status": status, "pause": pause})
        if cursor.rowcount:
            named = {"job": row["task_name"], "job_id": row["id"], "attempt": attempt}
            if dead:
                log.error("job_dead", **named, error="WorkerLost")
            else:
                log.warning("job_abandoned", **named, retry_in=pause)
