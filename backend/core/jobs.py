"""Jobs: declared in a module's manifest, and enqueued in the transaction of the change.

A job is stored exactly if the change is. `backend worker` runs it at least once, so jobs must be
idempotent. Arguments should be ids only, because readers of the job list see them.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import structlog
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.telemetry.tracing import trace_headers

QUEUE = "default"
# Jobs with a cron have a queue of their own, so that other jobs do not delay them.
CLOCK = "clock"
# Deliveries of events, too: an unavailable broker must not delay mails.
EVENTS = "events"
# A member of the stored arguments that handlers do not get: see `origin`. Its member ERROR is the
# error of the last attempt, for which procrastinate has no column.
ORIGIN = "_origin"
ERROR = "error"
# Whether the current job is dead if this attempt fails.
last_attempt: ContextVar[bool] = ContextVar("last_attempt", default=False)
# procrastinate's own function. Importing the library would cost every server 0.1 s and 10 MB.
_DEFER = text(
    "SELECT procrastinate_defer_jobs_v1(ARRAY(SELECT ROW(:queue, name, :priority, lock, NULL,"
    " arguments, CAST(:run_at AS timestamptz))::procrastinate_job_to_defer_v1"
    " FROM unnest(CAST(:names AS text[]), CAST(:arguments AS jsonb[]), CAST(:locks AS text[]))"
    " AS each (name, arguments, lock)))"
)


class JobError(Exception):
    """A failure whose text administrators see in the list of jobs; it must not be personal."""


@dataclass(frozen=True)
class Job:
    """A kind of job.

    name      `module.what`, unique; keep it as long as jobs of earlier releases may be queued
    run       `await run(context, **arguments)`
    attempts  maximal number of attempts, with increasing delays, before the job has failed
    cron      schedule (`minute hour day month weekday`, in UTC, optionally a sixth field for
              seconds); the job then has no arguments
    timeout   seconds after which an attempt is cancelled and counts as failed
    """

    name: str
    run: Callable[..., Awaitable[None]]
    attempts: int = 10
    cron: str | None = None
    timeout: float = 600


@dataclass(frozen=True)
class Queued:
    """A job as it is stored. Jobs with the same lock run one after the other, in their order."""

    name: str
    arguments: Mapping[str, Any]
    lock: str | None = None


def origin() -> dict[str, str]:
    """Return the ids of the request, or of the job, that this task belongs to.

    They are stored with each job that it enqueues, for the log lines and the trace of that job.
    """
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return trace_headers() | ({} if request_id is None else {"request_id": request_id})


async def enqueue(
    session: AsyncSession, job: Job, *, run_at: datetime | None = None, **arguments: str | int
) -> None:
    """Enqueue `job` in this session's transaction, to run after its commit and after `run_at`."""
    await enqueue_all(session, job, [arguments], run_at=run_at)


async def enqueue_all(
    session: AsyncSession,
    job: Job,
    arguments: Iterable[Mapping[str, str | int]],
    *,
    run_at: datetime | None = None,
    priority: int = 0,
) -> None:
    """Enqueue `job` once for each of these arguments, in one statement; see `enqueue`.

    Jobs with a lower priority run after all others that are due.
    """
    rows = [Queued(job.name, each) for each in arguments]
    await store(session, rows, QUEUE, run_at=run_at, priority=priority)


async def store(
    session: AsyncSession,
    jobs: Sequence[Queued],
    queue: str,
    *,
    run_at: datetime | None = None,
    priority: int = 0,
) -> None:
    """Store the jobs in this session's transaction, with the `origin` of this task."""
    found = origin()
    added = {ORIGIN: found} if found else {}
    values = {
        "queue": queue,
        "priority": priority,
        "run_at": run_at,
        "names": [each.name for each in jobs],
        "arguments": [orjson.dumps({**each.arguments, **added}).decode() for each in jobs],
        "locks": [each.lock for each in jobs],
    }
    await (await session.connection()).execute(_DEFER, values)
