"""Log lines of database errors name the SQLSTATE and the kind of trouble."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import structlog
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from backend.core.app import _start_up
from backend.core.jobs import Job
from backend.db.connections import Timeouts
from backend.db.database import Database
from backend.db.errors import DatabaseUnavailableError
from backend.db.queries import Statement
from backend.db.query_runner import QueryRunner
from backend.db.troubles import TROUBLES, database_trouble, trouble_sentence
from tests.actors import Client
from tests.applications import MODULES, make_app, make_context
from tests.poolers import pooler
from tests.worker_harness import RecordedRuns, WorkerHarness, was_logged

Found = dict[str, str | None]
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
# Statements that fail, the SQLSTATE and the kind.
STATEMENTS = {
    "too long": ("SET LOCAL statement_timeout = 5; SELECT pg_sleep(9)", "57014", "timeout"),
    "locked": ("SET LOCAL lock_timeout = 5; LOCK TABLE made_held", "55P03", "lock_timeout"),
    "deadlock": ("raise 40P01", "40P01", "conflict"),
    "disk full": ("raise 53100", "53100", "out_of_resources"),
    "read-only": ("SET TRANSACTION READ ONLY; DELETE FROM made_held", "25006", "read_only"),
    "terminated": ("SELECT pg_terminate_backend(pg_backend_pid())", "57P01", "down"),
    "not migrated": ("SELECT 1 FROM missing", "42P01", "wrong_schema"),
    "no right": ("SET LOCAL ROLE pg_monitor; DELETE FROM made_held", "42501", "misconfigured"),
    "value": ("SELECT 1 / 0", "22012", "refused_value"),
    "syntax": ("SELECT FROM WHERE", "42601", "other"),
}
RAISE = "DO $$ BEGIN RAISE EXCEPTION 'made' USING ERRCODE = '{}'; END $$"
ONE = Statement("SELECT 1 AS one")
SLEEP = Statement("SELECT pg_sleep(5)")


@pytest.fixture
def admin(own_database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE made_held ()")
        yield connection


@pytest.fixture
async def database(own_database_url: str) -> AsyncIterator[Database]:
    opened = Database(own_database_url, size=2, timeouts=Timeouts())
    yield opened
    await opened.close()


@pytest.mark.parametrize("case", STATEMENTS)
async def test_kinds_of_failed_statements(
    case: str, admin: psycopg.Connection, database: Database
) -> None:
    statement, sqlstate, trouble = STATEMENTS[case]
    if statement.startswith("raise "):
        statement = RAISE.format(statement.removeprefix("raise "))
    with admin.transaction():
        admin.execute("LOCK TABLE made_held IN ROW EXCLUSIVE MODE")
        with pytest.raises(DBAPIError) as raised:
            async with database.transaction() as session:
                await (await session.connection()).exec_driver_sql(statement)
    assert database_trouble(raised.value) == {"sqlstate": sqlstate, "trouble": trouble}
    assert database_trouble(raised.value.orig) == {"sqlstate": sqlstate, "trouble": trouble}


async def trouble_at(url: str, timeouts: Timeouts = Timeouts()) -> Found:  # noqa: B008  # frozen
    """Return the kind of the error that a read at this address raises."""
    runner = QueryRunner(url, size=1, timeouts=timeouts)
    try:
        with pytest.raises((DatabaseUnavailableError, psycopg.Error)) as raised:
            await runner.first(ONE)
    finally:
        await runner.close()
    return database_trouble(raised.value)


async def test_kinds_of_refused_connections(
    own_database_url: str, admin: psycopg.Connection
) -> None:
    role = f"crowded_{uuid4().hex}"
    admin.execute(SQL("CREATE ROLE {} LOGIN CONNECTION LIMIT 0").format(Identifier(role)))
    try:
        found = await trouble_at(make_conninfo(own_database_url, user=role))
    finally:
        admin.execute(SQL("DROP ROLE {}").format(Identifier(role)))
    assert found == {"sqlstate": "53300", "trouble": "too_many_connections"}
    found = await trouble_at(make_conninfo(own_database_url, user=role))
    assert found == {"sqlstate": "28000", "trouble": "misconfigured"}
    found = await trouble_at(make_conninfo(own_database_url, dbname="none"))
    assert found == {"sqlstate": "3D000", "trouble": "misconfigured"}
    assert await trouble_at(NOWHERE) == {"sqlstate": None, "trouble": "down"}


async def test_kind_of_an_exhausted_pool(own_database_url: str) -> None:
    runner = QueryRunner(own_database_url, size=1, timeouts=Timeouts(pool=0.05))
    busy = asyncio.create_task(runner.first(SLEEP))
    await asyncio.sleep(0)
    with pytest.raises(DatabaseUnavailableError) as raised:
        await runner.first(ONE)
    assert database_trouble(raised.value) == {"sqlstate": None, "trouble": "pool_exhausted"}
    busy.cancel()
    await asyncio.wait([busy])
    await runner.close()


@pytest.mark.parametrize(
    ("said", "sqlstate", "trouble"),
    [
        ("FATAL:  sorry, too many clients already", "53300", "too_many_connections"),
        ("FATAL:  the database system is starting up", "57P03", "down"),
        ("FATAL:  no more connections allowed (max_client_conn)", "08P01", "refused_by_pooler"),
        ("FATAL:  password authentication failed for user", "28P01", "misconfigured"),
        ('FATAL:  no pg_hba.conf entry for host "::1"', "28000", "misconfigured"),
        ("session is read-only", "25006", "read_only"),
        ("SSL error: certificate verify failed", None, "misconfigured"),
        ("could not translate host name to address", None, "down"),
        ("wait timeout expired", None, "timeout"),
    ],
)
def test_kinds_of_errors_without_a_sqlstate(said: str, sqlstate: str | None, trouble: str) -> None:
    """libpq passes on the text alone, of a server that this test cannot start in such a state."""
    found = database_trouble(psycopg.OperationalError(said))
    assert found == {"sqlstate": sqlstate, "trouble": trouble}


def test_other_errors_are_no_database_errors() -> None:
    assert database_trouble(OSError("refused")) == {}
    assert database_trouble(None) == {}
    assert trouble_sentence(OSError("refused")) == ""


async def test_requests_readiness_and_startup_name_the_kind() -> None:
    context = make_context(NOWHERE)
    with structlog.testing.capture_logs() as log:
        starting = asyncio.create_task(_start_up(context, MODULES))
        async with Client(make_app(context)) as client:
            assert (await client.get("/api/v1/articles")).status_code == 503
            await client.get("/health/ready")
            ready = await client.get("/health/ready")
        starting.cancel()
    await context.close()
    assert ready.json()["checks"]["database"]["detail"] == "down"
    for event in ("database_unavailable", "startup_waits"):
        line = next(each for each in log if each["event"] == event)
        assert (line["sqlstate"], line["trouble"]) == (None, "down")
    failed = [each for each in log if each["event"] == "readiness_check_failed"]
    # Each check once, however often load balancers ask.
    assert [each["check"] for each in failed].count("database") == 1
    assert {each["trouble"] for each in failed if each["check"] == "migrations"} == {"down"}


async def test_unhandled_errors_name_the_kind(own_database_url: str) -> None:
    with psycopg.connect(own_database_url) as connection:
        connection.execute("DROP TABLE articles CASCADE")
    context = make_context(own_database_url)
    context.state.started = True
    with structlog.testing.capture_logs() as log:
        async with Client(make_app(context)) as client:
            assert (await client.get("/api/v1/articles")).status_code == 500
    await context.close()
    (line,) = [each for each in log if each["event"] == "unhandled_error"]
    assert (line["sqlstate"], line["trouble"]) == ("42P01", "wrong_schema")


async def test_jobs_name_the_kind(own_database_url: str) -> None:
    harness = WorkerHarness(own_database_url)

    async def run(context: Any) -> None:
        async with context.database.transaction() as session:
            await (await session.connection()).execute(text("SELECT 1 FROM missing"))

    outage = psycopg.errors.lookup("53300")("made")
    job = Job("made.job", RecordedRuns([outage]), attempts=1)
    with structlog.testing.capture_logs() as log:
        async with harness.worker(job, Job("made.other", run, attempts=1)):
            await harness.enqueue(job)
            await harness.enqueue(Job("made.other", run))
            await harness.wait_until(lambda: was_logged(log, "job_failed"))
            await harness.wait_until(lambda: was_logged(log, "job_dead"))
    (failed,) = [each for each in log if each["event"] == "job_failed"]
    assert (failed["sqlstate"], failed["trouble"]) == ("53300", "too_many_connections")
    (dead,) = [each for each in log if each["event"] == "job_dead"]
    assert (dead["sqlstate"], dead["trouble"]) == ("42P01", "wrong_schema")


async def test_a_waiting_worker_names_the_kind(own_database_url: str) -> None:
    from backend.worker.supervisor import work

    stopping = asyncio.Event()
    with structlog.testing.capture_logs() as log:
        working = asyncio.create_task(work(make_context(NOWHERE), MODULES, stopping))
        while not any(each["event"] == "worker_waits" for each in log):  # noqa: ASYNC110  # a log sets no event
            await asyncio.sleep(0.01)
        stopping.set()
        await working
    (line,) = [each for each in log if each["event"] == "worker_waits"]
    assert (line["sqlstate"], line["trouble"]) == (None, "down")


@pytest.mark.slow
async def test_kinds_of_a_poolers_refusals(own_database_url: str) -> None:
    refused = {"sqlstate": "08P01", "trouble": "refused_by_pooler"}
    pooled = Timeouts(pooled=True)
    settings = {"max_client_conn": 2, "default_pool_size": 1, "query_wait_timeout": 1}
    with pooler(own_database_url, **settings) as bouncer:
        with psycopg.connect(bouncer.url, prepare_threshold=None) as first:
            first.execute("SELECT 1")
            # The pooler has one session of the server, which the open transaction holds.
            assert await trouble_at(bouncer.url, pooled) == refused
            with psycopg.connect(bouncer.url, prepare_threshold=None):
                assert await trouble_at(bouncer.url, pooled) == refused
        # It also refuses the parameter `options`, which sessions begin with.
        assert (await trouble_at(bouncer.url))["trouble"] == "refused_by_pooler"
    assert await trouble_at(bouncer.url, pooled) == {"sqlstate": None, "trouble": "down"}


def test_each_kind_is_documented() -> None:
    from tests.architecture import ROOT

    page = (ROOT / "docs" / "observability.md").read_text()
    assert [kind for kind in TROUBLES if f"`{kind}`" not in page] == []
