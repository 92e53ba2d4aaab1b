"""Fixtures: databases for tests that change schemas, hold locks and end connections."""

import pytest


@pytest.fixture
def database_url(own_database_url: str) -> str:
    return own_database_url
