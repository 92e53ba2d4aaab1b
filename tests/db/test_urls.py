"""Database URLs with several hosts and driver parameters are supported."""

import pytest
from sqlalchemy import text
from sqlmodel import select

from backend.db.connections import Timeouts
from backend.db.database import Database
from backend.db.queries import Query
from backend.db.schema.migrations import alembic_config
from backend.modules.users.models import User


def with_parameters(url: str, *parameters: str) -> str:
    return "&".join([url if "?" in url else f"{url}?", *parameters])


def with_a_dead_host(url: str) -> str:
    """Prepend a folder without a Unix socket to the one in which the server listens."""
    assert url.count("host=") == 1
    return url.replace("host=", "host=/nowhere,") + "&target_session_attrs=read-write"


@pytest.mark.parametrize("several", [False, True])
async def test_a_url_of_several_hosts_and_parameters(database_url: str, several: bool) -> None:
    url = with_a_dead_host(database_url) if several else database_url
    # A URL may contain parameters that the application sets itself.
    url = with_parameters(
        url, "connect_timeout=10", "application_name=mine", "options=-c%20jit%3Doff"
    )
    database = Database(url, size=1, timeouts=Timeouts())
    async with database.transaction() as session:
        found = await session.exec(select(text("current_setting('statement_timeout')")))
        assert found.one() == "15s"
    assert await database.primary.all(Query(select(User.id))) == []
    await database.close()
    with alembic_config(url) as config:
        assert config.attributes["connection"].scalar(text("SELECT 1")) == 1
