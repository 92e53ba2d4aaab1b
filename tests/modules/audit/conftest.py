"""Fixtures for tests of the audit log."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from backend.core.context import Context
from backend.db.base import uuid7
from backend.modules.audit import service as audit

Write = Callable[..., Awaitable[list[str]]]
_BACKDATED = """
WITH event AS (
    INSERT INTO audit_events (id, occurred_at, action, outcome) VALUES (%s, %s, %s, 'success')
    RETURNING id
) INSERT INTO audit_waiting SELECT id FROM event
"""


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection with the role of the application."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def intruder(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection on which no triggers run."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        yield connection


@pytest.fixture
def write(context: Context, database: psycopg.Connection) -> Write:
    """`await write(3)` records three events and returns their ids in the order of writing."""

    async def record(number: int = 1, *, days_ago: float = 0, **values: Any) -> list[str]:
        before = ids(database)
        if days_ago:
            moment = datetime.now(UTC) - timedelta(days=days_ago)
            for _ in range(number):
                database.execute(_BACKDATED, [uuid7(), moment, "test.done"])
        else:
            async with context.database.transaction() as session:
                for _ in range(number):
                    await audit.record(session, "test.done", **values)
        return [id for id in ids(database) if id not in before]

    return record


def ids(connection: psycopg.Connection) -> list[str]:
    """Return the ids of all events in the order of seals."""
    rows = connection.execute("SELECT id FROM audit_events ORDER BY id")
    return [str(id) for (id,) in rows]


def sealed_ids(connection: psycopg.Connection) -> list[str]:
    """Return the ids of all sealed events in the order of seals."""
    rows = connection.execute("SELECT event_ids FROM audit_seals ORDER BY number")
    return [str(id) for (event_ids,) in rows for id in event_ids]
