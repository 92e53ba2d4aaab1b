"""Fixtures: databases for tests that change schemas, hold locks and end connections; a shelf."""

import pytest

from tests.db.shelf import shelf, shelf_url

__all__ = ["shelf", "shelf_url"]


@pytest.fixture
def database_url(own_database_url: str) -> str:
    return own_database_url
