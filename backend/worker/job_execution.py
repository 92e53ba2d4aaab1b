"""One attempt at a job: what the log says of it, and when the next one is."""

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
from backend.core.jobs import Job
from backend.db.errors import driver_error, is_unavailable

log = structlog.get_logger()

LONGEST_PAUSE = 3 * 3600.0
# So often a job may at least be tried when others than itself were the reason that it failed.
PATIENT_ATTEMPTS = 10


@dataclass(frozen=True)
class WorkerConfig:
    """The times a worker keeps, in seconds.

    heartbeat    between two signs of life
    answer       for the database to answer the worker itself; then it counts as away
    dead_after   without a sign of life its jobs are others'. A worker that cannot give any has let
                 go of them before: `heartbeat`, twice `answer` and `patience` are less
    poll         between two looks for jobs whose time has come; of new ones it hears at once
    patience     for jobs that run when it is asked to stop
    first_pause  between the first attempt and the second
    """

    heartbeat: float = 5
    answer: float = 5
    dead_after: float = 40
    poll: float = 5
    patience: float = 20
    first_pause: float = 5


class JobCancelledItselfError(Exception):
    """A job was cancelled, and not because its worker stops."""


def backoff_delay(attempt: int, first: float) -> float:
    """Seconds between the attempt of this number, from 1 on, and the next: thrice as many each."""
    return min(first * 3.0 ** min(attempt - 1, 20), LONGEST_PAUSE)


def is_last(job: Job, attempt: int, error: BaseException | None = None) -> bool:
    """Whether the job is dead when this attempt has failed with this error.

    None is the end of the worker. Neither that nor an outage is the job's fault; but it might be.
    """
    if error is None or is_unavailable(error):
        return attempt >= max(job.attempts, PATIENT_ATTEMPTS)
    return attempt >= job.attempts


class Backoff(BaseRetryStrategy):
    """After a failure the next attempt is later; a job that was interrupted goes on at once."""

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
    """Run the job once, and say in one line what came of it; then raise what it raised."""
    number = running.job.attempts + 1
    # Whatever the job itself logs tells which one it was.
    structlog.contextvars.bind_contextvars(job=job.name, job_id=running.job.id, attempt=number)
    # procrastinate gives what the clock starts the moment it was due.
    by_clock = job.cron is not None and arguments.pop("timestamp", None) is not None
    started = time.perf_counter()
    try:
        await _run(context, job, running, arguments)
    except asyncio.CancelledError:
        log.warning("job_interrupted")
        raise
    except BaseException as error:
        described = describe_error(error, whole=context.settings.is_local)
        if is_last(job, number, error):
            log.error("job_dead", **described)
        else:
            log.warning(
                "job_failed", **described, retry_in=backoff_delay(number, config.first_pause)
            )
        raise
    # What the clock starts may start three times a minute, for ever.
    tell = log.debug if by_clock else log.info
    tell("job_done", duration_ms=round((time.perf_counter() - started) * 1000, 2))


async def _run(context: Context, job: Job, running: JobContext, arguments: dict[str, Any]) -> None:
    try:
        async with asyncio.timeout(job.timeout):
            await job.run(context, **arguments)
    except asyncio.CancelledError:
        if running.abort_reason() is None:
            raise JobCancelledItselfError from None
        raise


def describe_error(error: BaseException, *, whole: bool) -> dict[str, Any]:
    """An error for the log. Unless `whole`, without its text: that may quote what is secret."""
    if is_unavailable(error):
        return {"error": type(driver_error(error)).__name__}  # whatever was being done
    if whole:
        return {"error": type(error).__name__, "exc_info": error}
    parts: list[str] = []
    found: BaseException | None = error
    while found is not None:
        parts.insert(0, "".join(traceback.format_tb(found.__traceback__)) + type(found).__name__)
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return {"error": type(error).__name__, "exception": "\n\n".join(parts)}
