"""Worker processes that a test can kill, and the jobs they run.

Run as `python -m tests.worker_process URL CONFIG`; CONFIG is a `WorkerConfig` as JSON.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import text

from backend.core.context import Context
from backend.core.events import Event, durable, publish
from backend.core.jobs import Job, enqueue
from backend.core.logging import configure_logging
from backend.core.module import Module
from backend.core.stored_events import Key
from backend.worker.job_execution import WorkerConfig
from backend.worker.supervisor import work
from tests.applications import make_context
from tests.commands import Running, environment, eventually

_TABLE = "CREATE TABLE made_runs (id serial, word text, what text, pid integer)"
_WRITE = text("INSERT INTO made_runs (word, what, pid) VALUES (:word, :what, :pid)")
_MAY_END = text("SELECT 1 FROM made_runs WHERE word = :word AND what = 'may end'")


async def _write(context: Context, word: str, what: str) -> None:
    async with context.database.transaction() as session:
        values = {"word": word, "what": what, "pid": os.getpid()}
        await (await session.connection()).execute(_WRITE, values)


async def _note(context: Context, *, word: str) -> None:
    await _write(context, word, "begun")
    await _write(context, word, "ended")


async def _wait(context: Context, *, word: str) -> None:
    """Wait until the test releases the job."""
    await _write(context, word, "begun")
    while True:
        async with context.database.transaction() as session:
            if (await (await session.connection()).execute(_MAY_END, {"word": word})).first():
                break
        await asyncio.sleep(0.02)
    await _write(context, word, "ended")


@dataclass(frozen=True)
class Told(Event):
    """An event whose delivery writes its id, and then waits until the test releases its word."""

    word: Key
    listener: int = 1


async def _listen(context: Context, event: Told, event_id: UUID) -> None:
    await _write(context, event.word, f"delivered {event_id}")
    await _wait(context, word=event.word)


NOTE = Job("made_runs.note", _note)
WAIT = Job("made_runs.wait", _wait, attempts=1)
LISTEN = durable(Told, _listen, name="made_runs.listen", ordered_by="listener")
RUNS = Module(name="made_runs", jobs=(NOTE, WAIT), subscribers=(LISTEN,))


@dataclass(frozen=True)
class RunsTable:
    """A database with the table `made_runs`, into which the jobs write their begin and end."""

    url: str

    def open(self) -> "RunsTable":
        self._run(_TABLE)
        return self

    def enqueue(self, job: Job, *words: str) -> None:
        """Enqueue the job once for each word, in one transaction."""

        async def run() -> None:
            context = make_context(self.url, ())
            async with context.database.transaction() as session:
                for word in words:
                    await enqueue(session, job, word=word)
            await context.database.close()

        asyncio.run(run())

    def publish(self, *events: Event) -> None:
        """Publish the events in one transaction."""

        async def run() -> None:
            context = make_context(self.url, (RUNS,))
            async with context.database.transaction() as session:
                for event in events:
                    await publish(context, session, event)
            await context.database.close()

        asyncio.run(run())

    def deliveries(self, word: str) -> list[str]:
        """Return a text with the event's id for each delivery of this word that began."""
        query = "SELECT what FROM made_runs WHERE word = %s AND what LIKE 'delivered %%'"
        return [row[0] for row in self._run(query, word)]

    def release(self, word: str) -> None:
        self._run("INSERT INTO made_runs (word, what) VALUES (%s, 'may end')", word)

    def pids(self, word: str, what: str) -> list[int]:
        """Return the pids of the workers that wrote `what` for this word, in order."""
        query = "SELECT pid FROM made_runs WHERE word = %s AND what = %s ORDER BY id"
        return [row[0] for row in self._run(query, word, what)]

    def jobs(self) -> list[tuple[str, int]]:
        """Return status and attempts of all jobs."""
        return self._run("SELECT status, attempts FROM procrastinate_jobs ORDER BY id")

    def set_attempts(self, count: int) -> None:
        """Set the number of attempts of all jobs, and make them due."""
        self._run("UPDATE procrastinate_jobs SET attempts = %s, scheduled_at = NULL", count)

    def wait_until_empty(self) -> None:
        eventually(lambda: not self.jobs())

    def _run(self, statement: Any, *values: object) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def run_worker(ledger: RunsTable, folder: Path, **config: float) -> Iterator[Running]:
    """Run a worker during the block; kill it at the end."""
    log = folder / f"runs-{os.urandom(4).hex()}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.worker_process", ledger.url, json.dumps(config)],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    worker = Running(process, log)
    try:
        worker.wait_for("worker_started")
        yield worker
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def _main(url: str, config: str) -> None:
    context = make_context(url, (), log_format="json")
    configure_logging(context.settings)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await work(context, (RUNS,), stopping, config=WorkerConfig(**json.loads(config)))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
