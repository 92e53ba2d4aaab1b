"""Workers in the process of the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row
from structlog.typing import EventDict

from backend.core.context import Context
from backend.core.jobs import Job, enqueue
from backend.core.module import Module
from backend.core.stored_events import DurableSubscriber
from backend.worker.job_execution import WorkerConfig
from backend.worker.supervisor import work
from tests.applications import make_context

FAST_CONFIG = WorkerConfig(heartbeat=0.1, poll=0.05, first_pause=0.01, patience=0.1)
Log = list[EventDict]


@dataclass
class RecordedRuns:
    """A job function that records its arguments and raises `failures` one after the other."""

    failures: list[BaseException] = field(default_factory=list)
    arguments: list[Mapping[str, Any]] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, context: Context, **arguments: Any) -> None:
        assert isinstance(context, Context)
        self.arguments.append(arguments)
        self.called.set()
        if self.failures:
            raise self.failures.pop(0)

    async def wait_for_runs(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.arguments) < count:
                self.called.clear()
                await self.called.wait()


@dataclass
class WorkerHarness:
    """A database, its jobs, and workers on it."""

    url: str

    @asynccontextmanager
    async def worker(
        self,
        *jobs: Job,
        subscribers: tuple[DurableSubscriber, ...] = (),
        config: WorkerConfig = FAST_CONFIG,
        **settings: Any,
    ) -> AsyncIterator[asyncio.Event]:
        """Run a worker during the block; the event is set each time it becomes ready."""
        context = make_context(self.url, (), **settings)
        ready, stopping = asyncio.Event(), asyncio.Event()
        working = asyncio.create_task(
            work(
                context,
                (Module(name="made", jobs=jobs, subscribers=subscribers),),
                stopping,
                config=config,
                on_ready=ready.set,
            )
        )
        async with asyncio.timeout(20):
            done, _ = await asyncio.wait(
                [working, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED
            )
        if working in done:
            await working
        yield ready
        stopping.set()
        async with asyncio.timeout(30):
            await working

    async def enqueue(self, job: Job, **values: Any) -> None:
        context = make_context(self.url, ())
        async with context.database.transaction() as session:
            await enqueue(session, job, **values)
        await context.database.close()

    async def execute(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        async with (
            await psycopg.AsyncConnection.connect(
                self.url, row_factory=dict_row, autocommit=True
            ) as connection,
            await connection.execute(statement, values) as cursor,
        ):
            return await cursor.fetchall() if cursor.description else []

    async def jobs(self) -> list[dict[str, Any]]:
        return await self.execute("SELECT * FROM procrastinate_jobs ORDER BY id")

    async def wait_until(self, condition: Callable[[], Awaitable[Any]]) -> None:
        async with asyncio.timeout(20):
            while not await condition():  # noqa: ASYNC110  # the database sets no event
                await asyncio.sleep(0.01)

    async def wait_until_empty(self) -> None:
        """Wait until the queue is empty."""

        async def is_empty() -> bool:
            return not await self.jobs()

        await self.wait_until(is_empty)


def events_named(log: Log, event: str) -> list[EventDict]:
    return [entry for entry in log if entry["event"] == event]


async def was_logged(log: Log, event: str) -> bool:
    return bool(events_named(log, event))
