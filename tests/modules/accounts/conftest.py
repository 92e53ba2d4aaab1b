"""Fixtures for tests of everything that is mailed."""

from collections.abc import AsyncIterator
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


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement the driver sends, SQLAlchemy's and those of `Reads`."""
    seen: list[str] = []
    execute = psycopg.AsyncCursor.execute

    async def watched(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        seen.append(str(query))
        return await execute(self, query, *arguments, **options)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", watched)
    return seen
