"""Fixtures of all tests; fixtures of one module are beside its tests."""

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
from tests.samples import skip_users
from tests.secret_leaks import DETECTOR, DetectingHandler, keys_of
from tests.statements import statements
from tests.storages import shared_s3, storage_url


def pytest_xdist_auto_num_workers() -> int:
    """Return one more than the cores, because tests of processes mostly wait."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    # Imported modules and collected tests are never garbage; examining them repeatedly takes 5 %
    # of the time of all tests.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


# httpx tries to import it before each request; the failing import takes longer than a route.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]  # marks it as not importable

SECRET = DEFAULTS["secret_key"].get_secret_value()
KEYS = keys_of(SECRET)

# By default, structlog formats tracebacks with rich, which takes seconds for each.
structlog.configure(
    processors=[
        structlog.processors.format_exc_info,
        DETECTOR,
        structlog.processors.KeyValueRenderer(),
    ]
)
logging.getLogger().addHandler(DetectingHandler(DETECTOR))

__all__ = [
    "browser",
    "browser_context",
    "pytest_addoption",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_unconfigure",
    "shared_s3",
    "statements",
    "storage_url",
]


@pytest.fixture(autouse=True)
def no_secret_leaks() -> Iterator[None]:
    DETECTOR.start(PASSWORD, SECRET, *KEYS)
    yield
    assert not DETECTOR.leaks, "\n".join(DETECTOR.leaks)


@pytest.fixture(scope="session")
def _reused_database(request: pytest.FixtureRequest) -> Iterator[databases.ReusedDatabase]:
    with databases.cloned_database(databases.server_url(request.config)) as url:
        database = databases.ReusedDatabase(url)
        yield database
        database.close()


@pytest.fixture
def database_url(_reused_database: databases.ReusedDatabase) -> Iterator[str]:
    """A migrated database with the built-in roles; the test's changes are undone afterwards."""
    yield _reused_database.url
    DETECTOR.check_tables(_reused_database.connection)
    _reused_database.restore()


@pytest.fixture
def own_database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database for a test that changes the schema or terminates connections."""
    with databases.cloned_database(databases.server_url(request.config)) as url:
        yield url


@pytest.fixture(scope="session")
async def _reused_pools(_reused_database: databases.ReusedDatabase) -> AsyncIterator[Database]:
    """Open connections and compiled statements that most tests share."""
    database = make_context(_reused_database.url).database
    yield database
    await database.close()


@pytest.fixture
async def context(
    database_url: str, _reused_database: databases.ReusedDatabase, _reused_pools: Database
) -> AsyncIterator[Context]:
    test_context = make_context(database_url)
    if database_url == _reused_database.url:
        test_context = replace(test_context, database=_reused_pools)
    yield test_context
    if test_context.database is not _reused_pools:
        await test_context.database.close()


@pytest.fixture
def app(context: Context) -> FastAPI:
    """The application on this test's database, started."""
    context.state.started = True
    return make_app(context)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[Client]:
    """A client that is not signed in."""
    async with Client(app) as anonymous:
        yield anonymous


@pytest.fixture
async def actor(app: FastAPI, context: Context) -> AsyncIterator[ActorFactory]:
    """Creates signed-in users: `await actor("ada", roles=("editor",))`."""
    factory = ActorFactory(app, context)
    async with factory.stack:
        yield factory


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
    """All events logged during the test."""
    with structlog.testing.capture_logs(processors=[DETECTOR]) as captured:
        yield captured


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip_users(items)
