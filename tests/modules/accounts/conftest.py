"""Fixtures for tests of everything that is mailed."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI

from backend.core.context import Context
from tests.actors import Client
from tests.modules.accounts.post import Post


@pytest.fixture
async def post(
    app: FastAPI, client: Client, context: Context, database_url: str
) -> AsyncIterator[Post]:
    made = Post(app, client, context, database_url)
    yield made
    app.state.context = context


class Statements(list[str]):
    """What was sent, and what is to happen just before a statement that contains some text."""

    before: tuple[str, Callable[[], object]] | None = None

    def meanwhile(self, statement: str, happen: Callable[[], object]) -> None:
        self.before = (statement, happen)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """Every statement the driver sends, SQLAlchemy's and those of `Reads`."""
    seen = Statements()
    execute = psycopg.AsyncCursor.execute

    async def watched(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        seen.append(str(query))
        if seen.before and seen.before[0] in str(query):
            (_, happen), seen.before = seen.before, None
            happen()
        return await execute(self, query, *arguments, **options)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", watched)
    return seen
