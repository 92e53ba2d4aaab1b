"""One attempt at a job: its execution, its log line, and the time of the next attempt."""

import asyncio
import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from procrastinate import BaseRetryStrategy, JobContext, RetryDecision
from procrastinate.jobs import Job as StoredJob

from backend.core.context import Context
from backend.core.jobs import ERROR, ORIGIN, Job, JobError, last_attempt
from backend.core.metrics import record_database_error
from backend.db.errors import driver_error, is_unavailable
from backend.db.troubles import database_trouble
from backend.telemetry.spans import job_span
from backend.telemetry.tracing import TRACE_HEADER, active_trace_id

log = structlog.get_logger()

LONGEST_PAUSE = 3 * 3600.0
# The least number of attempts if outages or ended workers, and not the job, were the reason.
PATIENT_ATTEMPTS = 10
# Sentences for administrators, stored as the errors of jobs.
UNKNOWN = (
    "This release has no job or subscriber of this name: its module was removed, it was renamed, "
    "or it belongs to another release. Retry the job when a release with it runs."
)
WORKER_LOST = "Its worker ended before the job did."


@dataclass(frozen=True)
class WorkerConfig:
    """The times of a worker, in seconds.

    heartbeat    interval of heartbeats
    answer       timeout of the worker's own statements; then the database counts as unavailable
    dead_after   age of a heartbeat after which other workers take over the jobs. It exceeds the sum
                 of `heartbeat`, twice `answer` and `patience`, so that a worker without a database
                 has stopped its jobs before
    poll         interval of looking for scheduled jobs; new jobs are notified
    patience     time that running jobs have when the worker stops
    first_pause  time between the first attempt and the second
    """

    heartbeat: float = 5
    answer: float = 5
    dead_after: float = 40
    poll: float = 5
    patience: float = 20
    first_pause: float = 5


class JobCancelledItselfError(Exception):
    """A job was cancelled for another reason than the stop of its worker."""


def backoff_delay(attempt: int, first: float) -> float:
    """Return the seconds between an attempt (from 1) and the next; they triple each time."""
    return min(first * 3.0 ** min(attempt - 1, 20), LONGEST_PAUSE)


def is_last(job: Job, attempt: int, error: BaseException | None = None) -> bool:
    """Return whether a job is dead after this attempt failed with `error`.

    `error` is None if the worker ended. A job gets more attempts after that and after outages,
    but not without limit, because it may be their cause.
    """
    if error is None or is_unavailable(error):
        return attempt >= max(job.attempts, PATIENT_ATTEMPTS)
    return attempt >= job.attempts


class Backoff(BaseRetryStrategy):
    """Delays the next attempt after a failure; an interrupted job is retried immediately."""

    def __init__(self, job: Job, config: WorkerConfig) -> None:
        self._job = job
        self._first = config.first_pause

    def get_retry_decision(
        self, *, exception: BaseException, job: StoredJob
    ) -> RetryDecision | None:
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision()
        attempt = job.attempts + 1
        if is_last(self._job, attempt, exception):
            return None
        pause = timedelta(seconds=backoff_delay(attempt, self._first))
        return RetryDecision(retry_at=datetime.now(UTC) + pause)


async def attempt(
    context: Context, job: Job, config: WorkerConfig, running: JobContext, arguments: dict[str, Any]
) -> None:
    """Run the job once, log the outcome in one line, and raise what the job raised."""
    number = running.job.attempts + 1
    origin = arguments.pop(ORIGIN, {})
    origin.pop(ERROR, None)
    parent = {TRACE_HEADER: origin.pop(TRACE_HEADER)} if TRACE_HEADER in origin else {}
    # All log lines of the job carry its name, id and attempt, and the request that enqueued it.
    structlog.contextvars.bind_contextvars(
        job=job.name, job_id=running.job.id, attempt=number, **origin
    )
    last_attempt.set(number >= job.attempts)
    attributes = {"trellis.job.id": running.job.id or 0, "trellis.job.attempt": number}
    with job_span(context.tracing, job.name, parent, attributes):
        await _attempt(context, job, config, running, arguments, number)


async def _attempt(
    context: Context,
    job: Job,
    config: WorkerConfig,
    running: JobContext,
    arguments: dict[str, Any],
    number: int,
) -> None:
    # procrastinate passes the due time to scheduled jobs.
    by_clock = job.cron is not None and arguments.pop("timestamp", None) is not None
    started = time.perf_counter()
    outcome = "done"
    try:
        await _run(context, job, running, arguments)
    except asyncio.CancelledError:
        outcome = "interrupted"
        log.warning("job_interrupted")
        raise
    except BaseException as error:
        record_database_error(context, error)
        described = describe_error(error, whole=context.settings.is_local)
        outcome = "dead" if is_last(job, number, error) else "failed"
        if outcome == "dead":
            log.error("job_dead", **described)
        else:
            log.warning(
                "job_failed", **described, retry_in=backoff_delay(number, config.first_pause)
            )
        _report(context, job, error, number, is_dead=outcome == "dead")
        raise
    finally:
        if context.metrics is not None:
            seconds = time.perf_counter() - started
            context.metrics.job_seconds.labels(job.name, outcome).observe(seconds)
    # Scheduled jobs may run three times a minute.
    write = log.debug if by_clock else log.info
    write("job_done", duration_ms=round((time.perf_counter() - started) * 1000, 2))


def _report(
    context: Context, job: Job, error: BaseException, number: int, *, is_dead: bool
) -> None:
    """Report the first failure of a job and its last; an outage of the database only if last."""
    is_new = number == 1 and not is_unavailable(error)
    if context.error_reports is None or not (is_dead or is_new):
        return
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    context.error_reports.report(
        error,
        f"job {job.name}",
        request_id=request_id,
        trace_id=active_trace_id(),
        **database_trouble(error),
    )


async def _run(context: Context, job: Job, running: JobContext, arguments: dict[str, Any]) -> None:
    try:
        async with asyncio.timeout(job.timeout):
            await job.run(context, **arguments)
    except asyncio.CancelledError:
        if running.abort_reason() is None:
            raise JobCancelledItselfError from None
        raise


def public_error(error: BaseException) -> str:
    """Return what the list of jobs shows of an error. Texts of errors may quote secrets."""
    return str(error) if isinstance(error, JobError) else type(driver_error(error)).__name__


def describe_error(error: BaseException, *, whole: bool) -> dict[str, Any]:
    """Describe an error for the log, without its text unless `whole`: it may quote secrets."""
    trouble = database_trouble(error)
    if is_unavailable(error):
        return {"error": type(driver_error(error)).__name__, **trouble}
    if whole:
        return {"error": type(error).__name__, **trouble, "exc_info": error}
    parts: list[str] = []
    found: BaseException | None = error
    while found is not None:
        parts.insert(0, "".join(traceback.format_tb(found.__traceback__)) + type(found).__name__)
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return {"error": type(error).__name__, **trouble, "exception": "\n\n".join(parts)}
