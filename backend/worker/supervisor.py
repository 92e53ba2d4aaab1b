"""Runs jobs until it is asked to stop, and waits while the database is unavailable.

The API must not import it: procrastinate costs a process 0.1 s and 10 MB.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, NamedTuple

import psycopg
import structlog
from croniter import croniter  # type: ignore[import-untyped]  # it has no annotations
from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.worker import Worker
from psycopg_pool import AsyncConnectionPool

from backend.core.context import Context
from backend.core.jobs import CLOCK, EVENTS, QUEUE, Job
from backend.core.metrics import record_trouble, sampled
from backend.core.module import Module
from backend.core.registry import RegistryError
from backend.db.connections import Connection, Timeouts
from backend.db.errors import (
    DatabaseUnavailableError,
    EncodingError,
    PoolerError,
    is_unavailable,
)
from backend.db.schema.migrations import current_revision, revisions
from backend.db.session_features import probe_session
from backend.db.troubles import database_trouble
from backend.worker.job_execution import (
    Backoff,
    WorkerConfig,
    attempt,
    describe_error,
    public_error,
)
from backend.worker.job_queue import Queue, UnstoredOutcomes, WorkerDeclaredDeadError
from backend.worker.queue_metrics import queue_sampled

log = structlog.get_logger()

CONCURRENCY = 10
RETRY_SECONDS = 1.0
# A scheduled job that no worker was there to start is run within a day after its time, once.
MISSED_SECONDS = 24 * 3600
DATABASE = "The database cannot be used: `backend doctor` says why. Jobs run again once it can."
SCHEMA = "The schema is not at the newest revision: run `backend db upgrade`."
POOLED = (
    "The worker needs a session, and a transaction pooler keeps none: set DATABASE_DIRECT_URL to "
    "the server itself."
)
DECLARED_DEAD = "Its heartbeat was too late: other workers run its jobs, and it restarts."
FAILURE = "The worker has failed (see the event before this one), and restarts."


class Obstacle(NamedTuple):
    """A reason why no job can run now, and the fields of `database_trouble` if it is one."""

    reason: str
    trouble: Mapping[str, str | None] = {}


async def work(
    context: Context,
    modules: Sequence[Module],
    stopping: asyncio.Event,
    *,
    config: WorkerConfig = WorkerConfig(),  # noqa: B008  # frozen
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Run the modules' jobs until `stopping` is set; then close the database of the context.

    `on_ready` is called whenever the worker begins to run jobs, so again after each interruption.
    """
    _check_crons(modules)
    _silence_libraries()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(context.close)
        for module in modules:
            if module.lifespan:
                await stack.enter_async_context(module.lifespan(context))
        jobs = [job for module in modules for job in module.all_jobs]
        await stack.enter_async_context(sampled(context))
        await stack.enter_async_context(queue_sampled(context, [job.name for job in jobs]))
        supervisor = WorkerSupervisor(context, jobs, config)
        # Read at startup: migrations that are deployed later belong to another release.
        history = revisions()
        described: tuple[str, str | None] | None = None
        while not stopping.is_set():
            obstacle = await _obstacle(context, config, *history)
            if obstacle is None:
                described = None
                obstacle = await supervisor.run(stopping, on_ready)
            if obstacle is None:
                break
            record_trouble(context, obstacle.trouble)
            # Not compared by SQLSTATE: while a server restarts, it changes several times.
            if (obstacle.reason, obstacle.trouble.get("trouble")) != described:
                log.warning("worker_waits", reason=obstacle.reason, **obstacle.trouble)
                described = obstacle.reason, obstacle.trouble.get("trouble")
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), RETRY_SECONDS)
    log.info("worker_stopped")


def _check_crons(modules: Sequence[Module]) -> None:
    # Not checked at discovery, because only workers import croniter.
    for module in modules:
        for job in module.jobs:
            if job.cron is not None and not croniter.is_valid(job.cron):
                raise RegistryError(
                    f"Module '{module.name}', job '{job.name}': '{job.cron}' is no time for cron; "
                    "write minute hour day month weekday, such as '0 3 * * *'."
                )


async def _obstacle(
    context: Context, config: WorkerConfig, newest: str | None, known: frozenset[str]
) -> Obstacle | None:
    """Return the reason why no job can run now, or None."""
    try:
        async with asyncio.timeout(config.answer):
            current = await current_revision(context.database.primary)
    except (EncodingError, PoolerError) as error:
        return Obstacle(str(error), database_trouble(error))
    except TimeoutError:
        return Obstacle(DATABASE, {"sqlstate": None, "trouble": "timeout"})
    except (DatabaseUnavailableError, psycopg.Error) as error:
        return Obstacle(DATABASE, database_trouble(error))
    # An unknown revision is that of a newer release: a rolling update migrates first.
    outdated = current is None or (current in known and current != newest)
    return Obstacle(SCHEMA) if outdated else None


class WorkerSupervisor:
    """Runs one worker after the other, each until it is to stop or loses its database."""

    def __init__(self, context: Context, jobs: Iterable[Job], config: WorkerConfig) -> None:
        self._context = context
        self._jobs = {job.name: job for job in jobs}
        self._config = config
        self._unstored = UnstoredOutcomes()

    async def run(self, stopping: asyncio.Event, on_ready: Callable[[], None]) -> Obstacle | None:
        """Run jobs; return None after a stop, otherwise the reason of the interruption."""
        error: Exception | None = None
        try:
            if not await self._has_session():
                return Obstacle(POOLED)
            async with self._connected() as queue:
                await queue.take_over()
                await self._work(queue, stopping, on_ready)
                error = queue.broken
        except Exception as found:  # noqa: BLE001  # logged below
            error = found
        if stopping.is_set():
            return None
        if isinstance(error, WorkerDeclaredDeadError):
            return Obstacle(DECLARED_DEAD)
        if error is not None and is_unavailable(cause := error.__cause__ or error):
            return Obstacle(DATABASE, database_trouble(cause))
        described = (
            {} if error is None else describe_error(error, whole=self._context.settings.is_local)
        )
        log.error("worker_failed", **described)
        if error is not None and self._context.error_reports is not None:
            self._context.error_reports.report(error, "worker")
        return Obstacle(FAILURE)

    async def _has_session(self) -> bool:
        """Whether the address keeps a session, which LISTEN and the queue need."""
        url, timeouts = self._session_url(), self._timeouts()
        async with asyncio.timeout(timeouts.connect + self._config.answer):
            return (await probe_session(url, timeouts)).keeps_session

    def _session_url(self) -> str:
        url = self._context.settings.session_url
        assert url is not None
        return url.get_secret_value()

    def _timeouts(self) -> Timeouts:
        settings = self._context.settings
        return Timeouts(
            pool=settings.database_pool_timeout, statement=settings.database_statement_timeout
        )

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Queue]:
        """Yield the queue, on connections that jobs do not use and therefore cannot exhaust."""
        timeouts = self._timeouts()
        pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            self._session_url(),
            kwargs={**timeouts.client_arguments(), "application_name": "trellis worker"},
            configure=timeouts.set_up,
            min_size=1,
            max_size=3,
            timeout=timeouts.pool,
            connection_class=Connection,
            check=AsyncConnectionPool.check_connection,
            open=False,
        )
        async with pool:
            connector = PsycopgConnector()
            await connector.open_async(pool)
            yield Queue(connector, self._jobs, self._config, self._unstored)

    async def _work(
        self, queue: Queue, stopping: asyncio.Event, on_ready: Callable[[], None]
    ) -> None:
        workers = [self._worker(queue, name, CONCURRENCY) for name in (QUEUE, EVENTS)]
        if by_clock := sum(job.cron is not None for job in self._jobs.values()):
            # One slot for each scheduled job: neither slow mails nor long nightly jobs delay the
            # short jobs of each minute.
            workers.append(self._worker(queue, CLOCK, by_clock))

        def stop() -> None:
            for worker in workers:
                worker.stop()  # type: ignore[no-untyped-call]  # procrastinate leaves it untyped

        queue.on_broken = stop

        async def run(worker: Worker) -> None:
            try:
                await worker.run()  # type: ignore[no-untyped-call]  # see above
            except Exception as error:  # noqa: BLE001  # logged by `run`
                queue.break_off(error)
            stop()  # all workers end together

        async def stop_when_asked() -> None:
            await stopping.wait()
            stop()

        async with asyncio.TaskGroup() as group:
            running = [group.create_task(run(worker)) for worker in workers]
            # Created after the workers, which reset their stop flag when they start.
            asked = group.create_task(stop_when_asked())
            log.info("worker_started", jobs=len(self._jobs))
            on_ready()
            await asyncio.wait(running)
            asked.cancel()

    def _worker(self, queue: Queue, name: str, slots: int) -> Worker:
        return Worker(
            _app(self._context, self._jobs, self._config, queue, clock=name == CLOCK),
            queues=[name],
            concurrency=slots,
            fetch_job_polling_interval=self._config.poll,
            shutdown_graceful_timeout=self._config.patience,
            # Scheduled jobs are found by polling, which saves a connection.
            listen_notify=name != CLOCK,
            delete_jobs="successful",
            install_signal_handlers=False,
            update_heartbeat_interval=self._config.heartbeat,
        )


def _app(
    context: Context, jobs: Mapping[str, Job], config: WorkerConfig, queue: Queue, *, clock: bool
) -> App:
    app = App(connector=queue.connector, periodic_defaults={"max_delay": MISSED_SECONDS})
    app.job_manager = queue
    for job in jobs.values():
        task = app.task(name=job.name, queue=QUEUE, pass_context=True, retry=Backoff(job, config))(
            _runner(context, job, config, queue)
        )
        if clock and job.cron is not None:
            app.periodic(cron=job.cron, queue=CLOCK)(task)
    return app


def _runner(context: Context, job: Job, config: WorkerConfig, queue: Queue) -> Any:
    async def run(running: JobContext, /, **arguments: Any) -> None:
        try:
            await attempt(context, job, config, running, arguments)
        except BaseException as error:
            if running.job.id is not None:
                queue.errors[running.job.id] = public_error(error)
            raise

    return run


def _silence_libraries() -> None:
    """Disable the log lines of libraries: they quote arguments of jobs and addresses of servers.

    This package logs the same events itself.
    """
    logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
