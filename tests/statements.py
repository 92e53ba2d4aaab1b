"""What the driver sends to the database, and what happens between two statements."""

import inspect
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

Act = Callable[[], object]


class Statements(list[str]):
    """Every statement that was sent, by SQLAlchemy or by `QueryRunner`."""

    waiting: tuple[str, Act] | None = None

    def before(self, part: str, act: Act) -> None:
        """Call or await `act` once, just before the next statement that contains `part`."""
        self.waiting = (part, act)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    seen = Statements()
    execute = psycopg.AsyncCursor.execute

    async def watched(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        seen.append(str(query))
        if seen.waiting and seen.waiting[0] in str(query):
            (_, act), seen.waiting = seen.waiting, None
            acting = act()
            if inspect.isawaitable(acting):
                await acting
        return await execute(self, query, *arguments, **options)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", watched)
    return seen
