"""Databases of the tests: one PostgreSQL for the whole run, real commits in every test.

The main pytest process owns the server and passes its URL to xdist's workers. Each worker clones
a migrated template and restores its rows after each test. Tests that change the schema or
terminate connections use a clone of their own: see `tests/db/conftest.py`.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Composable, Identifier

from backend.db.schema.migrations import alembic_config
from backend.dev.embedded_host import data_folder, major_version
from backend.dev.embedded_server import EmbeddedError, EmbeddedServer, binaries, embedded_server
from tests.applications import run_startup
from tests.mail_servers import scripted_server

TEMPLATE = "template_trellis"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # only with unpredictable names
MIN_FREE_BYTES = 2 * 1024**3
# Options of a clone of `template0` that classifies only ASCII letters as letters.
C_LOCALE = "ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
_folder = pytest.StashKey[Path]()
_server = pytest.StashKey[EmbeddedServer]()
_url = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres",
        metavar="15|16|18|FOLDER",
        help="run on this version of PostgreSQL, or on the programs of a folder (default: the "
        "newest of the installed wheel)",
    )


def pytest_configure(config: pytest.Config) -> None:
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        config.stash[_url] = worker["server_url"]
        return
    programs = chosen_programs(config)
    folder = Path(tempfile.mkdtemp(prefix="trellis-tests-"))
    config.stash[_folder] = folder
    try:
        keep_in_memory(folder)
        server = embedded_server(folder / "postgres", fast=True, programs=programs)
        server.__enter__()
    except EmbeddedError as error:
        remove_data(folder)
        raise pytest.UsageError(str(error)) from None
    config.stash[_server] = server
    config.stash[_url] = server.url
    with administration(server.url) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE app")
    upgrade(database_url(server.url, TEMPLATE))
    run_startup(database_url(server.url, TEMPLATE))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: "object") -> None:
    node.workerinput["server_url"] = node.config.stash[_url]  # type: ignore[attr-defined]  # xdist's


def pytest_unconfigure(config: pytest.Config) -> None:
    server = config.stash.get(_server, None)
    if server is not None:
        server.__exit__(None, None, None)
        remove_data(config.stash[_folder])


def keep_in_memory(folder: Path) -> None:
    """Keep the data of the embedded server of `folder / "postgres"` in memory, if there is room.

    Creating and dropping databases takes several times as much processor time on some disks.
    """
    if not (
        os.access(SHARED_MEMORY, os.W_OK) and shutil.disk_usage(SHARED_MEMORY).free > MIN_FREE_BYTES
    ):
        return
    target = Path(tempfile.mkdtemp(prefix="trellis-tests-", dir=SHARED_MEMORY))
    target.chmod(0o755)  # root's server runs as another user
    home = data_folder(folder / "postgres")
    home.parent.mkdir(parents=True, exist_ok=True)
    home.symlink_to(target)


def remove_data(folder: Path) -> None:
    """Remove `folder` and the data of its embedded server, on disk or in memory."""
    home = data_folder(folder / "postgres")
    shutil.rmtree(home.resolve(), ignore_errors=True)
    if home.is_symlink():
        home.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def chosen_programs(config: pytest.Config) -> Path | None:
    """Return the folder of the programs that `--postgres` selects, or None without the option."""
    option = config.getoption("--postgres")
    if option is None:
        return None
    folder = programs_of(option) if option.isdecimal() else Path(option).absolute()
    if folder is None or not (folder / "postgres").exists():
        raise pytest.UsageError(
            f"--postgres: PostgreSQL {option} was not found. Install the package "
            "postgresql-VERSION, or give the folder that contains its program postgres."
        )
    return folder


def programs_of(version: str) -> Path | None:
    """Return the folder of a major version's programs: the wheel's, else Debian's, else None."""
    candidates = [
        *binaries().parents[1].glob("pginstall*/bin"),
        Path(f"/usr/lib/postgresql/{version}/bin"),
    ]
    return next(
        (
            folder
            for folder in candidates
            if (folder / "postgres").exists() and major_version(folder) == int(version)
        ),
        None,
    )


def server_url(config: pytest.Config) -> str:
    return config.stash[_url]


def upgrade(url: str, revision: str = "head") -> None:
    with alembic_config(url) as alembic:
        command.upgrade(alembic, revision)


def database_url(url: str, name: str) -> str:
    return url.replace("/app?", f"/{name}?")


@asynccontextmanager
async def proxy(url: str, flows: asyncio.Event) -> AsyncIterator[str]:
    """Yield the URL of a proxy to the database that forwards data only while `flows` is set."""
    server = conninfo_to_dict(url)
    socket = f"{server['host']}/.s.PGSQL.{server.get('port', 5432)}"

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await flows.wait()
            writer.write(data)
            await writer.drain()
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(socket)
        try:
            await asyncio.gather(pump(reader, to_server), pump(from_server, writer))
        finally:
            to_server.close()

    async with scripted_server(forward) as port:
        yield f"postgresql://{server['user']}@127.0.0.1:{port}/{server['dbname']}"


@contextmanager
def administration(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url(url, "postgres"), autocommit=True) as connection:
        yield connection


@contextmanager
def cloned_database(
    url: str, template: str = TEMPLATE, options: str = "STRATEGY file_copy"
) -> Iterator[str]:
    """Yield the URL of a new copy of `template`, dropped at the end even if it has connections.

    With the template `template0`, `options` may set another encoding and locale.
    """
    name = f"t_{uuid4().hex}"
    with administration(url) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} {options}")
        try:
            yield database_url(url, name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class ReusedDatabase:
    """A clone whose original rows can be restored."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = psycopg.connect(url, autocommit=True)
        names = self.connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
            "AND tablename <> 'alembic_version'"
        ).fetchall()
        tables = [Identifier(name) for (name,) in names]
        self._run(SQL("CREATE SCHEMA pristine"))
        self._run(*(SQL("CREATE TABLE pristine.{0} AS TABLE {0}").format(t) for t in tables))
        self._restore = [
            # If a test has left a transaction open, it fails instead of blocking.
            SQL("SET lock_timeout = '5s'"),
            # Foreign keys need no check: all rows are replaced by consistent ones.
            SQL("SET session_replication_role = replica"),
            *(SQL("DELETE FROM {}").format(table) for table in tables),
            *(
                SQL("INSERT INTO {0} SELECT * FROM pristine.{0}").format(table)
                for table in tables
                if self._holds_rows(table)
            ),
        ]

    def restore(self) -> None:
        self._run(*self._restore)

    def close(self) -> None:
        self.connection.close()

    def _holds_rows(self, table: Identifier) -> bool:
        statement = SQL("SELECT FROM {} LIMIT 1").format(table)
        return self.connection.execute(statement).fetchone() is not None

    def _run(self, *statements: Composable) -> None:
        self.connection.execute(SQL("; ").join(statements))
