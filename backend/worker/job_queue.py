"""The queue of a worker: procrastinate's, extended so that no job is lost or left behind."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString

import psycopg
import structlog
from croniter import croniter  # type: ignore[import-untyped]  # it has no annotations
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.jobs import Job as StoredJob
from procrastinate.jobs import JobInserted, Status
from procrastinate.manager import JobManager, NotificationCallback
from procrastinate.psycopg_connector import PsycopgConnector
from psycopg.rows import dict_row

from backend.core.jobs import CLOCK, Job
from backend.db.errors import DatabaseUnavailableError, is_unavailable
from backend.worker import statements
from backend.worker.job_execution import UNKNOWN, WORKER_LOST, WorkerConfig, backoff_delay, is_last

log = structlog.get_logger()

# An arbitrary number that no other advisory lock of this application uses.
REQUEUE_LOCK = 7_265_331


class WorkerDeclaredDeadError(Exception):
    """Other workers declared this one dead and took over its jobs, so it must restart."""


Outcome = tuple[LiteralString, StoredJob, dict[str, Any]]


@dataclass
class UnstoredOutcomes:
    """Outcomes that a worker of this process could not store; the next worker stores them.

    Otherwise finished jobs would run again once they count as abandoned.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    workers: list[int] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)


class Queue(JobManager):
    """The job manager of procrastinate's worker, for the jobs that this release knows."""

    def __init__(
        self,
        connector: PsycopgConnector,
        jobs: Mapping[str, Job],
        config: WorkerConfig,
        unstored: UnstoredOutcomes,
    ) -> None:
        super().__init__(connector)
        self._pool = connector.pool
        self._jobs = jobs
        self._config = config
        self._unstored = unstored
        # Errors of attempts that have ended, and are not stored yet, by the id of the job.
        self.errors: dict[int, str] = {}
        # Callbacks that make a worker look for jobs, by the queue.
        self._wake: dict[str, NotificationCallback] = {}
        self.broken: Exception | None = None
        self.on_broken: Callable[[], None] = lambda: None

    async def take_over(self) -> None:
        """Store outcomes that were not stored, and requeue the jobs of dead workers."""
        while self._unstored.outcomes:
            statement, job, values = self._unstored.outcomes[-1]
            try:
                async with self._bounded():
                    await self._change(statement, job, **values)
            except ConnectorException as error:
                if is_unavailable(error.__cause__ or error):
                    raise
            # If the database refuses the outcome, the job counts as abandoned and is retried.
            self._unstored.outcomes.pop()
        while self._unstored.workers:
            async with self._bounded():
                await super().unregister_worker(self._unstored.workers[-1])
            self._unstored.workers.pop()
        async with self._bounded():
            await self.requeue_stalled()

    async def prune_stalled_workers(self, *_: Any) -> list[int]:
        return []  # `requeue_stalled` has just done it

    async def register_worker(self) -> int:
        async with self._or_break():
            return await super().register_worker()

    async def unregister_worker(self, worker_id: int) -> None:
        if self.broken is not None:
            self._unstored.workers.append(worker_id)
            return
        async with self._or_break():
            await super().unregister_worker(worker_id)

    async def fetch_job(self, queues: Any, worker_id: int) -> StoredJob | None:
        while True:
            async with self._or_break():
                try:
                    job = await super().fetch_job(queues, worker_id)
                except UniqueViolation:
                    # Another worker has just taken a later job with the same lock, because this one
                    # was failed until somebody retried it.
                    continue
                if job is None or job.task_name in self._jobs:
                    return job
                # A newer release knows it, or an older one that may be rolled back to.
                status = await self._change(statements.BACK_OFF, job, error=UNKNOWN)
            if status == "failed":
                log.error("job_dead", job=job.task_name, job_id=job.id, error="JobUnknown")
            elif job.task_name not in self._unstored.unknown:
                self._unstored.unknown.add(job.task_name)
                log.warning("job_unknown", job=job.task_name, job_id=job.id)

    async def finish_job(self, job: StoredJob, status: Status, delete_job: bool) -> None:
        if delete_job:
            await self._settle(statements.DELETE, job)
        else:
            error = self.errors.pop(job.id or 0, None)
            await self._settle(statements.MARK_FAILED, job, error=error)
        if job.lock is not None and job.queue in self._wake:
            # Nothing else tells of the next job with this lock, so it would wait for the next poll.
            notification = JobInserted(type="job_inserted", job_id=job.id or 0)
            await self._wake[job.queue](channel=job.queue, notification=notification)

    async def retry_job(
        self, job: StoredJob, retry_at: datetime | None = None, *_: Any, **__: Any
    ) -> None:
        error = self.errors.pop(job.id or 0, None)
        if retry_at is not None:
            await self._settle(statements.RETRY, job, retry_at=retry_at, error=error)
        else:  # an interruption, which is not a failure and does not count as an attempt
            await self._settle(statements.GIVE_BACK, job)

    async def _settle(self, statement: LiteralString, job: StoredJob, **values: Any) -> None:
        try:
            async with self._or_break():
                status = await self._change(statement, job, **values)
        except (ConnectorException, DatabaseUnavailableError):
            # The database takes the job for running as long as this worker lives.
            self._unstored.outcomes.append((statement, job, values))
            return
        if status is None:
            log.warning("job_was_taken", job=job.task_name, job_id=job.id)

    async def _change(self, statement: LiteralString, job: StoredJob, **values: Any) -> str | None:
        """Execute a statement; return the job's status, None if it belonged to another worker."""
        changed = await self.connector.execute_query_all_async(
            f"{statement} {statements.OWN}", job_id=job.id, worker_id=job.worker_id, **values
        )
        return changed[0]["status"] if changed else None

    def break_off(self, error: Exception) -> None:
        """Stop the workers of this queue because of an error that they cannot handle."""
        self.broken = self.broken or error
        self.on_broken()

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """Limit the time of a block: a stalled proxy or server keeps the connection open."""
        try:
            async with asyncio.timeout(self._config.answer):
                yield
        except TimeoutError:
            raise DatabaseUnavailableError(trouble="timeout") from None

    @asynccontextmanager
    async def _or_break(self) -> AsyncIterator[None]:
        """Stop the workers if the block fails: procrastinate ignores some of these failures."""
        try:
            async with self._bounded():
                yield
        except Exception as error:
            self.break_off(error)
            raise

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        self._wake |= dict.fromkeys(queues or (), on_notification)
        # Without a timeout, because a notification may never arrive.
        try:
            await super().listen_for_jobs(on_notification=on_notification, queues=queues)
        except Exception as error:
            self.break_off(error)
            raise

    async def defer_periodic_job(
        self, job: StoredJob, periodic_id: str, defer_timestamp: int
    ) -> int | None:
        cron = self._jobs[job.task_name].cron
        if croniter(cron, defer_timestamp).get_next(float) <= time.time():
            # The process was suspended, and a later time is due as well: only the last one counts.
            return None
        async with self._or_break():
            id = await super().defer_periodic_job(job, periodic_id, defer_timestamp)
            if id is not None:
                await self.connector.execute_query_async(
                    statements.REPLACE, queue=CLOCK, name=job.task_name, id=id
                )
            return id

    async def update_heartbeat(self, worker_id: int) -> None:
        """Store a heartbeat, then requeue the jobs of dead workers."""
        async with self._or_break():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(statements.HEARTBEAT, [worker_id])
                if not cursor.rowcount:
                    raise WorkerDeclaredDeadError
            await self.requeue_stalled()

    async def requeue_stalled(self) -> None:
        """Requeue the jobs of workers without a recent heartbeat, and remove those workers."""
        async with self._pool.connection() as connection, connection.transaction():
            cursor = connection.cursor(row_factory=dict_row)
            # Two transactions could deadlock on the rows of jobs and workers.
            await cursor.execute("SELECT pg_try_advisory_xact_lock(%s) AS ours", [REQUEUE_LOCK])
            turn = await cursor.fetchone()
            if not turn or not turn["ours"]:
                return
            await cursor.execute(statements.ABANDONED, [self._config.dead_after])
            for row in await cursor.fetchall():
                await self._requeue_one(cursor, row)
            await cursor.execute(statements.PRUNE, [self._config.dead_after])

    async def _requeue_one(self, cursor: psycopg.AsyncCursor[Any], row: dict[str, Any]) -> None:
        attempt = row["attempts"] + 1
        job = self._jobs.get(row["task_name"])
        dead = job is not None and is_last(job, attempt)
        pause = 0 if dead else backoff_delay(attempt, self._config.first_pause)
        status = "failed" if dead else "todo"
        values = {**row, "status": status, "pause": pause, "error": WORKER_LOST}
        await cursor.execute(statements.REQUEUE, values)
        if cursor.rowcount:
            named = {"job": row["task_name"], "job_id": row["id"], "attempt": attempt}
            if dead:
                log.error("job_dead", **named, error="WorkerLost")
            else:
                log.warning("job_abandoned", **named, retry_in=pause)
