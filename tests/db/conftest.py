"""Fixtures: databases for tests that change schemas, hold locks and end connections; others."""

import pytest

from backend.db.congestion import ThreadUse
from tests.db.shelf import shelf, shelf_url

__all__ = ["shelf", "shelf_url"]


@pytest.fixture
def database_url(own_database_url: str) -> str:
    return own_database_url


@pytest.fixture
def idle_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread with time left; on a busy machine, one without refuses nobody."""
    monkeypatch.setattr(ThreadUse, "exhausted", lambda *_: False)
