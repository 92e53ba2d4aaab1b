"""The server and the worker behind pgbouncer with few server sessions."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from backend.db.connections import Timeouts
from tests import databases
from tests.actors import PASSWORD
from tests.commands import eventually, fetch, running
from tests.poolers import Pooler, pooler
from tests.processes import Server, served
from tests.raw_client import RawClient, RawResponse, call_all

pytestmark = pytest.mark.slow

POOL_SIZE = 4
CALLERS = 24
VISITS = 50
ACCOUNTS = 10
SETTINGS = [*Timeouts().server_settings(), "application_name"]
GOOD = {200, 201}


@pytest.fixture(scope="module")
def direct_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """The address of a database for this module alone."""
    with databases.cloned_database(databases.server_url(pytestconfig)) as url:
        yield url


@pytest.fixture(scope="module")
def bouncer(direct_url: str) -> Iterator[Pooler]:
    with pooler(direct_url, default_pool_size=POOL_SIZE) as made:
        yield made


@pytest.fixture(scope="module")
def server(bouncer: Pooler, direct_url: str) -> Iterator[Server]:
    """A server of two workers that reach the database through the pooler, with some accounts."""
    with served(bouncer.url, **settings(direct_url)) as made:
        register(made.url)
        yield made


def settings(direct_url: str, **others: Any) -> dict[str, Any]:
    return {"DATABASE_POOLER": "transaction", "DATABASE_DIRECT_URL": direct_url, **others}


def email(number: int) -> str:
    return f"person{number % ACCOUNTS}@example.com"


def register(url: str) -> None:
    work = [partial(_register, number) for number in range(ACCOUNTS)]
    made = asyncio.run(call_all(url, work))
    assert [answer.status for answer in made] == [201] * ACCOUNTS


async def _register(number: int, caller: RawClient) -> RawResponse:
    account = {"email": email(number), "password": PASSWORD}
    return await caller.call("POST", "/api/v1/auth/register", account)


async def sign_in(number: int, caller: RawClient) -> RawResponse:
    account = {"email": email(number), "password": PASSWORD}
    return await caller.call("POST", "/api/v1/auth/login", account)


async def visit(number: int, caller: RawClient) -> list[RawResponse]:
    """Send the requests of a user who signs in, writes and reads."""
    tokens = await sign_in(number, caller)
    answers = [tokens]

    async def call(method: str, path: str, body: Any = None) -> RawResponse:
        answer = await caller.call(method, path, body, bearer=tokens.body["access_token"])
        answers.append(answer)
        return answer

    me = await call("GET", "/api/v1/users/me")
    # Another client's prepared statement would return that client's row.
    assert me.body["email"] == email(number), me
    item = await call("POST", "/api/v1/items", {"title": f"Note {number}"})
    await call("PATCH", f"/api/v1/items/{item.body['id']}", {"description": "longer"})
    listed = await call("GET", "/api/v1/items?q=note&total=true")
    assert item.body["id"] in {each["id"] for each in listed.body["data"]}
    await call("GET", "/api/v1/articles")
    refresh = {"refresh_token": tokens.body["refresh_token"]}
    tokens = await caller.call("POST", "/api/v1/auth/refresh", refresh)
    answers.append(tokens)
    await call("GET", "/api/v1/users/me")
    return answers


def sessions_of(place: str) -> list[dict[str, Any]]:
    """Return settings and prepared statements of each server session of the pooler."""
    values = SQL(", ").join(
        SQL("current_setting({}) AS {}").format(name, Identifier(name)) for name in SETTINGS
    )
    statement = SQL(
        "SELECT pg_backend_pid() AS pid,"
        " (SELECT count(*) FROM pg_prepared_statements) AS prepared, {}"
    ).format(values)
    with ExitStack() as stack:
        found = []
        for _ in range(POOL_SIZE):
            # Transactions that stay open have one server session each.
            connection = stack.enter_context(
                psycopg.connect(
                    place,
                    prepare_threshold=None,
                    application_name="watcher",
                    row_factory=psycopg.rows.dict_row,
                )
            )
            row = connection.execute(statement).fetchone()
            assert row is not None
            found.append(row)
    return found


def test_a_crowd_is_served_by_few_sessions_without_an_error(
    server: Server, bouncer: Pooler
) -> None:
    before = sessions_of(bouncer.url)[0]
    work = [partial(visit, number) for number in range(VISITS)]
    visits = asyncio.run(call_all(server.url, work, clients=CALLERS))
    answers = [answer for each in visits for answer in each]
    assert len(answers) >= 300
    assert [answer for answer in answers if answer.status not in GOOD] == []
    found = sessions_of(bouncer.url)
    assert len({each.pop("pid") for each in found}) == POOL_SIZE
    assert found == [{name: before[name] for name in ("prepared", *SETTINGS)}] * POOL_SIZE
    assert before["statement_timeout"] == "0"
    assert before["prepared"] == 0


def test_a_worker_beside_the_pooler_runs_jobs(
    server: Server, bouncer: Pooler, direct_url: str, tmp_path: Path
) -> None:
    environment = settings(
        direct_url,
        DATABASE_URL=bouncer.url,
        ENVIRONMENT="test",
        SECRET_KEY="a key for tests that is as long as a real one: 0123456789",
    )
    with running("worker", folder=tmp_path, **environment) as worker:
        worker.wait_for("worker_started")
        eventually(lambda: len(fetch(server.url, "/dev/mailbox")[1]["data"]) == ACCOUNTS)
        worker.kill(signal.SIGTERM)
        assert worker.wait() == 0
        assert "worker_waits" not in worker.output


def test_without_its_pooler_it_answers_503_and_comes_back_by_itself(
    server: Server, bouncer: Pooler
) -> None:
    (tokens,) = asyncio.run(call_all(server.url, [partial(sign_in, 0)]))
    pids = server.worker_pids()

    async def look(caller: RawClient) -> list[RawResponse]:
        bearer = tokens.body["access_token"]
        return [
            await caller.call("GET", "/api/v1/users/me", bearer=bearer),
            await caller.call("GET", "/api/v1/items", bearer=bearer),
            await caller.call("POST", "/api/v1/items", {"title": "Milk"}, bearer=bearer),
            await sign_in(1, caller),
        ]

    async def outage() -> list[RawResponse]:
        """Return the responses to requests while the pooler is killed, and to those afterwards."""

        async def kill(caller: RawClient) -> list[RawResponse]:
            await asyncio.to_thread(bouncer.kill)
            return await look(caller)

        crowd = [*[look] * CALLERS, kill, *[look] * 2 * CALLERS]
        during = await call_all(server.url, crowd, clients=CALLERS)
        after = await call_all(server.url, [look] * 4)
        assert {answer.status for each in after for answer in each} == {503}
        return [answer for each in during for answer in each]

    for _ in range(2):
        statuses = {answer.status for answer in asyncio.run(outage())}
        assert statuses <= {*GOOD, 503}
        assert 503 in statuses
        assert fetch(server.url, "/health/live")[0] == 200
        assert fetch(server.url, "/health/ready")[0] == 503
        bouncer.start()
        eventually(server.is_ready)
        answers = asyncio.run(call_all(server.url, [look] * CALLERS))
        assert {answer.status for each in answers for answer in each} == GOOD
    assert server.worker_pids() == pids


@pytest.mark.parametrize("role_is_limited", [True, False])
def test_a_statement_that_takes_too_long_is_answered_503(
    own_database_url: str, role_is_limited: bool
) -> None:
    """Writes set the limit themselves; reads use the role's, or the application ends them."""
    name = Identifier(str(psycopg.conninfo.conninfo_to_dict(own_database_url)["dbname"]))
    environment = settings(own_database_url, DATABASE_STATEMENT_TIMEOUT="0.5")
    with psycopg.connect(own_database_url) as connection:
        if role_is_limited:
            change = "ALTER ROLE CURRENT_USER IN DATABASE {} SET statement_timeout = '500ms'"
            connection.execute(SQL(change).format(name))
            connection.commit()
        with (
            pooler(own_database_url) as bouncer,
            served(bouncer.url, workers=1, **environment) as server,
        ):
            register(server.url)
            (tokens,) = asyncio.run(call_all(server.url, [partial(sign_in, 0)]))
            connection.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")

            async def write(caller: RawClient) -> RawResponse:
                bearer = tokens.body["access_token"]
                return await caller.call("POST", "/api/v1/items", {"title": "Milk"}, bearer=bearer)

            async def read(caller: RawClient) -> RawResponse:
                bearer = tokens.body["access_token"]
                return await caller.call("GET", "/api/v1/items", bearer=bearer)

            answers = asyncio.run(call_all(server.url, [read, write]))
            assert [answer.outcome for answer in answers] == [(503, "SERVICE_UNAVAILABLE")] * 2
            if role_is_limited:
                assert waits(connection) == []
            connection.rollback()
            answers = asyncio.run(call_all(server.url, [read, write]))
            assert [answer.status for answer in answers] == [200, 201]


def waits(connection: psycopg.Connection) -> list[Any]:
    return connection.execute(
        "SELECT 1 FROM pg_locks WHERE relation = 'items'::regclass AND NOT granted"
    ).fetchall()


@pytest.mark.parametrize(
    ("ignored", "verb"), [("extra_float_digits", "refuses"), ("options", "ignores")]
)
def test_in_session_mode_it_says_why_it_is_not_ready(
    own_database_url: str, tmp_path: Path, ignored: str, verb: str
) -> None:
    with (
        pooler(own_database_url, ignore_startup_parameters=ignored) as bouncer,
        running(
            "serve",
            "--port",
            "0",
            folder=tmp_path,
            DATABASE_URL=bouncer.url,
            ENVIRONMENT="test",
            LOG_FORMAT="json",
        ) as server,
    ):
        reason = server.wait_for(r'"reason":"([^"]+)".*"event":"startup_waits"')
        assert reason == (
            f"The pooler at {bouncer.place} {verb} the startup parameter 'options', which sets a "
            "session's time limits: set DATABASE_POOLER=transaction."
        )
        status, readiness = fetch(server.url, "/health/ready")
        assert status == 503
        assert readiness["checks"]["database"]["detail"] == (
            "DATABASE_URL leads to a pooler that keeps no session: set DATABASE_POOLER=transaction."
        )
        assert bouncer.place not in str(readiness)
        for _ in range(5):
            assert fetch(server.url, "/api/v1/articles")[0] == 503
        assert fetch(server.url, "/health/live")[0] == 200
        server.kill(signal.SIGTERM)
        assert server.wait() == 0
