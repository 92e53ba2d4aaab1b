"""The schema's history: where it stands, and how it is moved.

`migrations/env.py` is Alembic's side of this. Nothing here imports Alembic at the top: it would
cost every server 30 MB to know no more than the newest revision.
"""

import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, NullPool, column, create_engine, select, table, text

from backend.db.errors import DatabaseUnavailableError
from backend.db.query_runner import Query, QueryRunner
from backend.db.schema.history import read_history

if TYPE_CHECKING:
    from alembic.config import Config

FOLDER = Path(__file__).resolve().parents[3] / "migrations"
_CURRENT = Query(select(column("version_num")).select_from(table("alembic_version")))
# Any number will do, as long as everybody who migrates takes the same.
_TURN = 7_265_311
# A migration of large tables takes minutes, and whoever dies while migrating frees the turn.
_PATIENCE = 600.0


def revisions() -> tuple[str | None, frozenset[str]]:
    """The newest revision of the history, which this code needs, and all of them.

    `HistoryError` if the migrations do not form one line.
    """
    return read_history(FOLDER / "versions")


def newest_revision() -> str | None:
    return revisions()[0]


async def current_revision(reader: QueryRunner) -> str | None:
    """The revision the database is at; None when it has never been migrated."""
    try:
        row = await reader.first(_CURRENT)
    except psycopg.errors.UndefinedTable:
        return None
    return row["version_num"] if row else None


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection of its own, closed at the end."""
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
    """A configuration for `alembic.command`, on a connection that has waited for its turn.

    Of several processes that migrate at once one works; the others find it done.
    """
    from alembic.config import Config  # noqa: PLC0415  # see the top of this file

    config = Config(cmd_opts=Namespace(quiet=True))
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    with connected(url) as connection:
        _wait_for_turn(connection)
        config.attributes["connection"] = connection
        yield config


def _wait_for_turn(connection: Connection) -> None:
    # Asked again and again: an index that is built concurrently waits for every statement that
    # runs, and one of ours that waited for the builder would hold it up in turn.
    deadline = time.monotonic() + _PATIENCE
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:turn)"), {"turn": _TURN}):
        connection.commit()
        if time.monotonic() > deadline:
            raise DatabaseUnavailableError("somebody else is migrating: try again when it is done")
        time.sleep(0.1)
    # A migration that waits for a lock makes everybody queue behind it. One that works may take any
    # time: the role's limits are meant for requests.
    connection.execute(
        text(
            "SET lock_timeout = '4s'; SET statement_timeout = 0;"
            " SET idle_in_transaction_session_timeout = 0"
        )
    )
    connection.commit()
