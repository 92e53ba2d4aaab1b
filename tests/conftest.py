"""Fixtures for all tests. A module's own fixtures live beside its tests."""

import gc
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import structlog
from fastapi import FastAPI

from backend.core.context import Context
from backend.db.database import Database
from tests import databases
from tests.actors import PASSWORD, Actor, ActorFactory, Client
from tests.applications import DEFAULTS, make_app, make_context
from tests.browsers import browser, browser_context
from tests.databases import (  # pytest finds its hooks by name, here
    pytest_addoption,
    pytest_configure,
    pytest_configure_node,
    pytest_unconfigure,
)
from tests.secret_leaks import WATCH, WatchingHandler, keys_of
from tests.statements import statements


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests of whole processes mostly wait for them."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    # What is imported and collected lives to the end: looking for garbage in it again and again
    # takes a twentieth of the time of all tests.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


# httpx asks for it before each request, and looking for what is not there takes longer than a
# route's whole own work.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]  # means that there is none

SECRET = DEFAULTS["secret_key"].get_secret_value()
KEYS = keys_of(SECRET)

# Without this structlog prints tracebacks by rich, which takes seconds for each.
structlog.configure(
    processors=[
        structlog.processors.format_exc_info,
        WATCH,
        structlog.processors.KeyValueRenderer(),
    ]
)
logging.getLogger().addHandler(WatchingHandler(WATCH))

__all__ = [
    "browser",
    "browser_context",
    "pytest_addoption",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_unconfigure",
    "statements",
]


@pytest.fixture(autouse=True)
def no_secret_gets_out() -> Iterator[None]:
    WATCH.begin(PASSWORD, SECRET, *KEYS)
    yield
    assert not WATCH.leaks, "\n".join(WATCH.leaks)


@pytest.fixture(scope="session")
def _reused_database(request: pytest.FixtureRequest) -> Iterator[databases.ReusedDatabase]:
    with databases.cloned_database(databases.server_url(request.config)) as url:
        database = databases.ReusedDatabase(url)
        yield database
        database.close()


@pytest.fixture
def database_url(_reused_database: databases.ReusedDatabase) -> Iterator[str]:
    """A migrated database with the built-in roles, for this test alone while it runs."""
    yield _reused_database.url
    WATCH.look_at_tables(_reused_database.connection)
    _reused_database.restore()


@pytest.fixture
def own_database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A clone for a test that changes the schema or terminates connections."""
    with databases.cloned_database(databases.server_url(request.config)) as url:
        yield url


@pytest.fixture(scope="session")
async def _reused_pools(_reused_database: databases.ReusedDatabase) -> AsyncIterator[Database]:
    """Open connections and compiled statements, which most tests can share."""
    database = make_context(_reused_database.url).database
    yield database
    await database.close()


@pytest.fixture
async def context(
    database_url: str, _reused_database: databases.ReusedDatabase, _reused_pools: Database
) -> AsyncIterator[Context]:
    made = make_context(database_url)
    if database_url == _reused_database.url:
        made = replace(made, database=_reused_pools)
    yield made
    if made.database is not _reused_pools:
        await made.database.close()


@pytest.fixture
def app(context: Context) -> FastAPI:
    """The application on this test's database, as it is after its start."""
    context.state.started = True
    return make_app(context)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[Client]:
    """Somebody who is not signed in."""
    async with Client(app) as made:
        yield made


@pytest.fixture
async def actor(app: FastAPI, context: Context) -> AsyncIterator[ActorFactory]:
    """Makes signed-in users: `await actor("ada", roles=("editor",))`."""
    cast = ActorFactory(app, context)
    async with cast.stack:
        yield cast


@pytest.fixture
async def ada(actor: ActorFactory) -> Actor:
    """A member."""
    return await actor("ada")


@pytest.fixture
async def bob(actor: ActorFactory) -> Actor:
    """Another member."""
    return await actor("bob")


@pytest.fixture
async def editor(actor: ActorFactory) -> Actor:
    return await actor("edith", roles=("editor",))


@pytest.fixture
async def admin(actor: ActorFactory) -> Actor:
    return await actor("root", roles=("admin",))


@pytest.fixture
def log() -> Iterator[list[structlog.typing.EventDict]]:
    """Every event that is logged while the test runs."""
    with structlog.testing.capture_logs(processors=[WATCH]) as captured:
        yield captured
