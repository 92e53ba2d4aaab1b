"""A record of the statements sent to the database, actions between two of them, and locks."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

Action = Callable[[], object]


class Statements(list[str]):
    """All statements sent by SQLAlchemy and by `QueryRunner`."""

    waiting: tuple[str, Action] | None = None

    def before(self, part: str, action: Action) -> None:
        """Call and await `action` once, just before the next statement that contains `part`."""
        self.waiting = (part, action)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    recorded = Statements()
    execute = psycopg.AsyncCursor.execute

    async def recording_execute(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        recorded.append(str(query))
        if recorded.waiting and recorded.waiting[0] in str(query):
            (_, action), recorded.waiting = recorded.waiting, None
            result = action()
            if inspect.isawaitable(result):
                await result
        return await execute(self, query, *arguments, **options)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", recording_execute)
    return recorded


# Other tests use other databases of the same server. A lock of a transaction belongs to none,
# so the one of the waiting process is that of the tables that it has locked.
_WAITING = """
    SELECT FROM pg_locks AS waiting
    JOIN pg_locks AS held USING (pid)
    JOIN pg_database ON pg_database.oid = held.database
    WHERE NOT waiting.granted AND datname = current_database()
"""


async def waits_for_a_lock(
    connection: psycopg.AsyncConnection, task: "asyncio.Future[Any]"
) -> None:
    """Wait until a transaction in this database waits for a lock; fail if `task` ends before."""
    while not task.done():
        found = await connection.execute(_WAITING)
        if found.rowcount:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(getattr(task.result(), "text", task.result()))
