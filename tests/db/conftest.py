"""These tests change schemas, hold locks and end connections: each has a database of its own."""

import pytest


@pytest.fixture
def database_url(own_database_url: str) -> str:
    return own_database_url
