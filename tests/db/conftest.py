"""Fixtures: databases for tests that change schemas, hold locks and end connections; others."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from backend.db.congestion import ThreadUse
from backend.db.connections import Timeouts
from backend.db.database import Database
from tests.db.shelf import shelf, shelf_url

__all__ = ["shelf", "shelf_url"]


@pytest.fixture
def database_url(own_database_url: str) -> str:
    return own_database_url


MakeDatabase = Callable[..., Database]


@pytest.fixture
async def make_database(database_url: str) -> AsyncIterator[MakeDatabase]:
    """Make databases with one connection for transactions and short limits, by default."""
    made: list[Database] = []

    def make(pooled: bool = False, url: str = database_url, **options: Any) -> Database:
        timeouts = Timeouts(pool=2, statement=5, lock=0.2, pooled=pooled)
        made.append(Database(url, **{"size": 1, "timeouts": timeouts, **options}))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.fixture
def idle_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread with time left; on a busy machine, one without refuses nobody."""
    monkeypatch.setattr(ThreadUse, "exhausted", lambda *_: False)
