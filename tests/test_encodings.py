"""Databases of other encodings and locales are refused, or used with a warning."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog
from alembic import command
from fastapi import FastAPI
from typer.testing import CliRunner, Result

from backend.cli.commands import app as commands
from backend.cli.databases import reach
from backend.cli.terminal import CommandError
from backend.core.app import running
from backend.db.schema.migrations import alembic_config
from backend.worker.supervisor import work
from tests import databases
from tests.actors import Actor, ActorFactory, Client
from tests.applications import MODULES, make_app, make_context, run_startup

OTHERS = ("SQL_ASCII", "LATIN1", "EUC_JP")
REMEDY = "`createdb --template=template0 --encoding=UTF8 --locale=C.UTF-8 NAME`"


def refusal_of(encoding: str) -> str:
    return (
        f"The database is encoded in {encoding}, and only UTF8 holds every text: "
        f"create another one with {REMEDY} and set DATABASE_URL to it."
    )


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> str:
    return databases.server_url(pytestconfig)


@pytest.fixture(scope="session")
def ascii_url(server: str) -> Iterator[str]:
    """An empty database with the encoding of a server whose locale is C."""
    with databases.cloned_database(server, "template0", "ENCODING 'SQL_ASCII' LOCALE 'C'") as url:
        yield url


@pytest.fixture(scope="session")
def folds_ascii_only(server: str) -> Iterator[str]:
    """A migrated database whose locale folds the case of A to Z only."""
    with databases.cloned_database(server, "template0", "ENCODING 'UTF8' LOCALE 'C'") as url:
        with alembic_config(url) as config:
            command.upgrade(config, "head")
        run_startup(url)
        yield url


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command of `backend` in this process, on a database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIRST_ADMIN_PASSWORD", "correct horse battery")

    def invoke(line: str, url: str) -> Result:
        monkeypatch.setenv("DATABASE_URL", url)
        return CliRunner().invoke(commands, line.split())

    return invoke


@pytest.mark.parametrize("encoding", OTHERS)
def test_other_encodings_are_refused(server: str, encoding: str) -> None:
    options = f"ENCODING '{encoding}' LOCALE 'C'"
    with (
        databases.cloned_database(server, "template0", options) as url,
        pytest.raises(CommandError) as refused,
    ):
        reach(url)
    assert str(refused.value) == refusal_of(encoding)


def test_remedy_makes_a_database_that_is_accepted(server: str) -> None:
    # createdb sends this for the options that the message names.
    with databases.cloned_database(server, "template0", "ENCODING 'UTF8' LOCALE 'C.UTF-8'") as url:
        assert reach(url)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT lower('É')").fetchone() == ("é",)


@pytest.mark.parametrize(
    "line",
    [
        "db upgrade",
        "db downgrade base",
        "db check",
        "db revision something",
        "users create-admin --email ada@example.com",
        "audit verify",
        "dev --port 0",
    ],
)
def test_every_command_refuses_another_encoding(run: Any, ascii_url: str, line: str) -> None:
    done = run(line, ascii_url)
    assert isinstance(done.exception, CommandError), (done.output, done.exception)
    assert str(done.exception) == refusal_of("SQL_ASCII")


def test_doctor_names_another_encoding(run: Any, ascii_url: str) -> None:
    done = run("doctor --port 0", ascii_url)
    assert done.exit_code == 1
    assert f"✗ {refusal_of('SQL_ASCII')}\n" in done.output


async def test_server_on_another_encoding_is_not_ready_and_says_why(
    ascii_url: str, log: list[structlog.typing.EventDict]
) -> None:
    context = make_context(ascii_url)
    app = make_app(context)
    async with running(context, MODULES), Client(app) as client:
        answer = await client.get("/health/ready")
        assert answer.status_code == 503
        checks = answer.json()["checks"]
        assert checks["database"]["status"] == "error"
        assert checks["database"]["detail"] == refusal_of("SQL_ASCII")
        assert checks["startup"]["status"] == "error"
        assert (await client.get("/health/live")).status_code == 200
        credentials = {"email": "ada@example.com", "password": "correct horse battery"}
        for answer in (
            await client.get("/api/v1/articles"),
            await client.post("/api/v1/auth/register", json=credentials),
            await client.post("/api/v1/auth/login", json=credentials),
        ):
            assert (answer.status_code, answer.json()["error"]) == (503, "SERVICE_UNAVAILABLE")
    reasons = {each["reason"] for each in log if each["event"] == "startup_waits"}
    assert reasons == {refusal_of("SQL_ASCII")}
    assert "startup_failed" not in {each["event"] for each in log}


async def test_worker_on_another_encoding_waits_and_says_why(
    ascii_url: str, log: list[structlog.typing.EventDict]
) -> None:
    stopping = asyncio.Event()
    working = asyncio.create_task(work(make_context(ascii_url), MODULES, stopping))
    while not any(each["event"] == "worker_waits" for each in log):
        assert not working.done()
        await asyncio.sleep(0.01)
    stopping.set()
    await working
    assert [each["reason"] for each in log if each["event"] == "worker_waits"] == [
        refusal_of("SQL_ASCII")
    ]


@pytest.mark.parametrize("asked_by", ["database", "environment"])
async def test_client_encoding_is_ours_to_choose(
    own_database_url: str, monkeypatch: pytest.MonkeyPatch, asked_by: str
) -> None:
    """Text that LATIN1 lacks is stored, whatever encoding the database or the environment sets."""
    if asked_by == "environment":
        monkeypatch.setitem(os.environ, "PGCLIENTENCODING", "LATIN1")
    else:
        with psycopg.connect(own_database_url, autocommit=True) as connection:
            name = connection.info.dbname
            connection.execute(f"ALTER DATABASE {name} SET client_encoding = 'LATIN1'".encode())
    context = make_context(own_database_url)
    app = make_app(context)
    async with running(context, MODULES), Client(app) as client:
        body = {
            "email": "ada@example.com",
            "password": "correct horse battery",
            "full_name": "愛達 Ł",
        }
        answer = await client.post("/api/v1/auth/register", json=body)
        assert answer.status_code == 201, answer.text
        assert answer.json()["full_name"] == body["full_name"]


async def signed_in(app: FastAPI, context: Any) -> tuple[ActorFactory, Actor]:
    cast = ActorFactory(app, context)
    return cast, await cast("ada")


async def found(ada: Actor, q: str) -> list[int]:
    """Return how many items and articles are found."""
    lists = [await ada.get(f"/api/v1/{name}", params={"q": q}) for name in ("items", "articles")]
    return [len(each.json()["data"]) for each in lists]


async def test_search_folds_what_the_locale_folds(
    folds_ascii_only: str, own_database_url: str
) -> None:
    """Searches in such a database behave as doctor says."""
    for url, expected in ((own_database_url, [1, 1]), (folds_ascii_only, [0, 0])):
        context = make_context(url)
        app = make_app(context)
        async with running(context, MODULES):
            cast, ada = await signed_in(app, context)
            async with cast.stack:
                for name in ("items", "articles"):
                    await ada.post(f"/api/v1/{name}", json={"title": "ÉTUDE One"})
                assert await found(ada, "ÉTUDE") == [1, 1]
                assert await found(ada, "one") == [1, 1]
                assert await found(ada, "étude") == expected


def test_doctor_advises_where_search_does_not_fold(run: Any, folds_ascii_only: str) -> None:
    done = run("doctor --port 0", folds_ascii_only)
    advice = [line for line in done.output.splitlines() if not line.startswith("✓ ")]
    (only,) = advice
    assert only == (
        "! The database's locale (LC_CTYPE) folds the case of A to Z only: a search (`q`) for é "
        "by substring and by word does not find É. "
        f"Create a database with {REMEDY} and move the data there."
    )
    assert done.exit_code == 0


def test_doctor_is_silent_where_search_folds(run: Any, own_database_url: str) -> None:
    done = run("doctor --port 0", own_database_url)
    assert (done.exit_code, "LC_CTYPE" in done.output) == (0, False), done.output
