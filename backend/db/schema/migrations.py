"""Migrations: the revision of a database, the revisions of the code, and Alembic's configuration.

`migrations/env.py` is the Alembic side. Alembic is imported inside functions only: a server needs
nothing but the newest revision, and the import costs 30 MB.
"""

import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, NullPool, column, create_engine, event, select, table, text

from backend.db.errors import DatabaseUnavailableError
from backend.db.queries import Query
from backend.db.query_runner import QueryRunner
from backend.db.schema.history import OWN_NUMBERS, read_history
from backend.product import NAME

if TYPE_CHECKING:
    from alembic.config import Config

FOLDER = Path(__file__).resolve().parents[3] / "migrations"
UPSTREAM = "trellis"
_CURRENT = Query(select(column("version_num")).select_from(table("alembic_version")))
# The advisory lock that serialises migrations. The number is arbitrary, but must not change.
_LOCK = 7_265_311
# A migration of large tables takes minutes. The lock is released if its session ends.
_LOCK_TIMEOUT_SECONDS = 600.0
# Requests for the table wait meanwhile. It is longer than `deadlock_timeout` (1 s), after which
# PostgreSQL ends an autovacuum that is in the way.
_WAIT = "1500ms"
_PATIENT_WAIT = "10min"


def revisions() -> tuple[str | None, frozenset[str]]:
    """Return the newest revision, which this code needs, and the set of all revisions.

    Raise `HistoryError` if the migrations do not form a linear history.
    """
    return read_history(FOLDER / "versions")


def next_revision() -> str:
    """Return the number of the next migration.

    Projects that started from Trellis begin with 1001, so that no later release has their numbers.
    """
    newest, known = revisions()
    if NAME == UPSTREAM:
        return f"{int(newest) + 1 if newest and newest.isdecimal() else 1:04}"
    own = (int(each) for each in known if each.isdecimal() and int(each) > OWN_NUMBERS)
    return f"{max(own, default=OWN_NUMBERS) + 1:04}"


def newest_revision() -> str | None:
    return revisions()[0]


async def current_revision(reader: QueryRunner) -> str | None:
    """Return the revision of the database; None if it has never been migrated."""
    try:
        row = await reader.first(_CURRENT)
    except psycopg.errors.UndefinedTable:
        return None
    return row["version_num"] if row else None


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """Open a connection outside of any pool, for the block."""
    engine = create_engine(
        "postgresql+psycopg://",
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={**conninfo_to_dict(url), "client_encoding": "UTF8"},
    )
    with engine.connect() as connection:
        yield connection


@contextmanager
def alembic_config(url: str) -> Iterator["Config"]:
    """Yield a configuration for `alembic.command`, on a connection that holds the migration lock.

    If several processes migrate at once, one does the work and the others wait for it. Raise
    `DatabaseUnavailableError` if the lock is not free within ten minutes.
    """
    from alembic.config import Config  # noqa: PLC0415  # see the top of this file

    config = Config(cmd_opts=Namespace(quiet=True))
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    with connected(url) as connection:
        _acquire_lock(connection)
        event.listen(connection, "before_cursor_execute", _limit_wait)
        config.attributes["connection"] = connection
        yield config


def _acquire_lock(connection: Connection) -> None:
    # Polled instead of waited for: CREATE INDEX CONCURRENTLY waits for all running statements, so
    # a statement that waits for the migration that builds the index would be a deadlock.
    deadline = time.monotonic() + _LOCK_TIMEOUT_SECONDS
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}):
        connection.commit()
        if time.monotonic() > deadline:
            raise DatabaseUnavailableError(
                "another process is migrating: try again when it is done", trouble="lock_timeout"
            )
        time.sleep(0.1)
    # The statements themselves have no limit: the role's limits are meant for requests.
    connection.execute(
        text("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
    )
    connection.commit()


def _limit_wait(_c: object, cursor: "psycopg.Cursor[Any]", statement: str, *_: object) -> None:
    """Set the time that the next statement may wait for each of its locks.

    All requests for a table queue behind a statement that waits for a lock on it, except for
    concurrent ones, which wait for older transactions and would have to start again.
    """
    is_patient = "CONCURRENTLY" in statement.upper()
    cursor.execute(f"SET lock_timeout = '{_PATIENT_WAIT if is_patient else _WAIT}'".encode())
