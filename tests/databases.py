"""One PostgreSQL for the whole run, one database for each test.

The process that pytest was started in owns the server; xdist's workers are told its address.
Each test clones a migrated template, which takes milliseconds, and so commits for real.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic import command

from backend.db.embedded import EmbeddedServer, embedded_server
from backend.db.migrations import alembic_config
from tests.applications import run_startup

TEMPLATE = "template_trellis"
_folder = pytest.StashKey[Path]()
_server = pytest.StashKey[EmbeddedServer]()
_url = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        config.stash[_url] = worker["server_url"]
        return
    folder = Path(tempfile.mkdtemp(prefix="trellis-tests-"))
    server = embedded_server(folder, fast=True)
    server.__enter__()
    config.stash[_folder], config.stash[_server] = folder, server
    config.stash[_url] = server.url
    with administration(server.url) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE app")
    with alembic_config(database_url(server.url, TEMPLATE)) as alembic:
        command.upgrade(alembic, "head")
    run_startup(database_url(server.url, TEMPLATE))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: "object") -> None:
    node.workerinput["server_url"] = node.config.stash[_url]  # type: ignore[attr-defined]  # xdist's


def pytest_unconfigure(config: pytest.Config) -> None:
    server = config.stash.get(_server, None)
    if server is not None:
        server.__exit__(None, None, None)
        # As root the data lives elsewhere.
        for folder in (server.folder, config.stash[_folder]):
            shutil.rmtree(folder, ignore_errors=True)


def server_url(config: pytest.Config) -> str:
    return config.stash[_url]


def database_url(url: str, name: str) -> str:
    return url.replace("/app?", f"/{name}?")


@contextmanager
def administration(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url(url, "postgres"), autocommit=True) as connection:
        yield connection


@contextmanager
def cloned_database(url: str, template: str = TEMPLATE) -> Iterator[str]:
    """The URL of a fresh copy of `template`, dropped at the end whoever is still connected."""
    name = f"t_{uuid4().hex}"
    with administration(url) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            yield database_url(url, name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
