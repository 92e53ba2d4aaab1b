"""Work for later: declared in a module's manifest, enqueued in the transaction of the change.

A job exists exactly when the change does, and `backend worker` runs it at least once, so what it
does must be harmless when done twice. Arguments are ids: whoever may read the jobs reads them.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

QUEUE = "default"
# What the clock starts waits in a queue of its own, where nothing is in front of it.
CLOCK = "clock"
# procrastinate's own function. Importing the library would cost every server 0.1 s and 10 MB.
_DEFER = text(
    "SELECT procrastinate_defer_jobs_v1(ARRAY[ROW(:queue, :name, 0, NULL, NULL,"
    " CAST(:arguments AS jsonb), CAST(:run_at AS timestamptz))::procrastinate_job_to_defer_v1])"
)


@dataclass(frozen=True)
class Job:
    """Something to do later.

    name      `module.what`, unique; what waits under a name outlives the release that enqueued it
    run       `await run(context, **arguments)`
    attempts  times in all it is tried, with growing pauses, before it counts as dead
    cron      when to run it by itself (`minute hour day month weekday`, in UTC, and perhaps a
              sixth field for seconds); it then takes no arguments
    timeout   seconds one attempt may take; it is cancelled then, and has failed
    """

    name: str
    run: Callable[..., Awaitable[None]]
    attempts: int = 10
    cron: str | None = None
    timeout: float = 600


async def enqueue(
    session: AsyncSession, job: Job, *, run_at: datetime | None = None, **arguments: str | int
) -> None:
    """Have `job` run once this session's transaction is committed, and not before `run_at`."""
    values = {
        "queue": QUEUE,
        "name": job.name,
        "arguments": orjson.dumps(arguments).decode(),
        "run_at": run_at,
    }
    await (await session.connection()).execute(_DEFER, values)
