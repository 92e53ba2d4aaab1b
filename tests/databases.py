"""One PostgreSQL for the whole run, real commits in every test.

The process that pytest was started in owns the server; xdist's workers are told its address.
Each worker clones a migrated template and puts it back in order after each test. Tests that change
the schema, or break things, take a clone of their own: see `tests/db/conftest.py`.
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
MEMORY = Path("/dev/shm")  # noqa: S108  # only with names that nobody can guess
ROOM = 2 * 1024**3
# Options of `template0` for a database that knows no letters outside ASCII.
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
    """Put the data of the embedded server of `folder / "postgres"` into memory, if there is room.

    Making and dropping databases takes several times as much processor time on some disks.
    """
    if not (os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM):
        return
    target = Path(tempfile.mkdtemp(prefix="trellis-tests-", dir=MEMORY))
    target.chmod(0o755)  # root's server runs as another user
    home = data_folder(folder / "postgres")
    home.parent.mkdir(parents=True, exist_ok=True)
    home.symlink_to(target)


def remove_data(folder: Path) -> None:
    """Remove `folder` and the data of its embedded server, wherever it lies."""
    home = data_folder(folder / "postgres")
    shutil.rmtree(home.resolve(), ignore_errors=True)
    if home.is_symlink():
        home.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def chosen_programs(config: pytest.Config) -> Path | None:
    wanted = config.getoption("--postgres")
    if wanted is None:
        return None
    found = programs_of(wanted) if wanted.isdecimal() else Path(wanted).absolute()
    if found is None or not (found / "postgres").exists():
        raise pytest.UsageError(
            f"--postgres: there is no PostgreSQL {wanted} here: install the package "
            "postgresql-VERSION, or name the folder that holds its program postgres."
        )
    return found


def programs_of(version: str) -> Path | None:
    """The programs of a major version: the installed wheel's, else those of Debian's package."""
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
    """A URL by which the database is reached as long as `flows` is set."""
    known = conninfo_to_dict(url)
    socket = f"{known['host']}/.s.PGSQL.{known.get('port', 5432)}"

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await flows.wait()
            writer.write(data)
            await writer.drain()
        writer.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(socket)
        try:
            await asyncio.gather(pump(reader, back), pump(there, writer))
        finally:
            back.close()

    async with scripted_server(pass_on) as port:
        yield f"postgresql://{known['user']}@127.0.0.1:{port}/{known['dbname']}"


@contextmanager
def administration(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url(url, "postgres"), autocommit=True) as connection:
        yield connection


@contextmanager
def cloned_database(
    url: str, template: str = TEMPLATE, options: str = "STRATEGY file_copy"
) -> Iterator[str]:
    """The URL of a fresh copy of `template`, dropped at the end whoever is still connected.

    Of template0 the `options` may name another encoding and locale.
    """
    name = f"t_{uuid4().hex}"
    with administration(url) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} {options}")
        try:
            yield database_url(url, name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class ReusedDatabase:
    """A clone whose rows can be put back as they were when it was made."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = psycopg.connect(url, autocommit=True)
        found = self.connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
            "AND tablename <> 'alembic_version'"
        ).fetchall()
        tables = [Identifier(name) for (name,) in found]
        self._run(SQL("CREATE SCHEMA pristine"))
        self._run(*(SQL("CREATE TABLE pristine.{0} AS TABLE {0}").format(t) for t in tables))
        self._restore = [
            # A test that left a transaction open must fail, not hang.
            SQL("SET lock_timeout = '5s'"),
            # Foreign keys need not be looked at: all rows go, and consistent ones come back.
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
