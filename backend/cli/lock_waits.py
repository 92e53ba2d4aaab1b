"""Migrations that cannot get a lock: attempts with pauses, and who is in the way."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg

from backend.cli.terminal import CommandError, say

ATTEMPTS = 10
LONGEST_PAUSE = 15.0
# A wait that long is worth a line; only the concurrent ones, which are in nobody's way, may be.
REPORT_AFTER = 5.0
_POLL_SECONDS = 0.2
# The end of the migration waits for the end of this.
CONNECT_SECONDS = 5
_BLOCKER = """
SELECT (SELECT min(relation::regclass::text) FROM pg_locks
    WHERE pid = %(pid)s AND NOT granted AND locktype = 'relation'),
    pid, extract(epoch FROM clock_timestamp() - xact_start)::int
FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(%(pid)s))
ORDER BY xact_start LIMIT 1
"""


@dataclass
class _Wait:
    """The newest wait of a session. `table` is None if it waits for the end of transactions."""

    table: str | None = None
    blocker: int | None = None
    age: int | None = None

    def reason(self) -> str:
        if self.blocker is None:
            return "another session held it"
        if self.age is None:
            return f"pid {self.blocker} holds it"
        return f"pid {self.blocker} has had a transaction open for {self.age} s"

    def target(self) -> str:
        return f"a lock on {self.table}" if self.table else "a lock"


def with_patience(url: str, pid: int, migrate: Callable[[], None]) -> None:
    """Repeat `migrate` while it does not get its locks; raise `CommandError` after `ATTEMPTS`.

    `pid` is the server process of its session. A failed attempt is rolled back.
    """
    from sqlalchemy.exc import DBAPIError

    for attempt in itertools.count(1):
        with _watched(url, pid) as wait:
            try:
                migrate()
                return
            except DBAPIError as error:
                busy = psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected
                if not isinstance(error.orig, busy):
                    raise
                if attempt == ATTEMPTS:
                    raise CommandError(_given_up(wait)) from error
        pause = min(2.0 ** (attempt - 1), LONGEST_PAUSE)
        say(
            f"Waiting for {wait.target()}: attempt {attempt} of {ATTEMPTS} failed, because "
            f"{wait.reason()}; the next one is in {pause:.0f} s."
        )
        time.sleep(pause)


def _given_up(wait: _Wait) -> str:
    end = f", or end it with `SELECT pg_terminate_backend({wait.blocker})`," if wait.blocker else ""
    return (
        f"The migration did not get {wait.target()} in {ATTEMPTS} attempts, because "
        f"{wait.reason()}: wait for its end{end} and run this again."
    )


@contextmanager
def _watched(url: str, pid: int) -> Iterator[_Wait]:
    """Observe for the block, from a session of its own, what the session of `pid` waits for."""
    wait, ended = _Wait(), threading.Event()
    thread = threading.Thread(target=_watch, args=(url, pid, wait, ended), daemon=True)
    thread.start()
    try:
        yield wait
    finally:
        ended.set()
        thread.join()


def _watch(url: str, pid: int, wait: _Wait, ended: threading.Event) -> None:
    started: float | None = None
    # Without a second connection the migration goes on, without these words.
    with (
        suppress(psycopg.Error),
        psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_SECONDS) as connection,
    ):
        while not ended.wait(_POLL_SECONDS):
            row = connection.execute(_BLOCKER, {"pid": pid}).fetchone()
            if row is None:
                started = None
                continue
            wait.table, wait.blocker, wait.age = row
            started = started or time.monotonic()
            if time.monotonic() - started > REPORT_AFTER:
                say(f"Waiting for {wait.target()}, because {wait.reason()}.")
                started = time.monotonic() + 60
