"""A record of the statements sent to the database, and actions between two of them."""

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
