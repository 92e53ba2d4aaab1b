"""Log lines name the request that caused them, its client, and the process."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.typing import EventDict

from backend.core.app import create_app
from backend.core.context import Context
from backend.core.http.middleware import request_context
from backend.core.jobs import Job, enqueue
from tests.actors import Actor, Client
from tests.applications import MODULES, make_context
from tests.worker_harness import RecordedRuns, WorkerHarness, events_named


@asynccontextmanager
async def starting(database_url: str) -> AsyncIterator[tuple[Client, Context]]:
    """Yield a client of an application that has not started yet."""
    context = make_context(database_url)
    # Not one of those that tests share: they have logged health checks before.
    async with Client(create_app(context, MODULES)) as client:
        yield client, context
    await context.close()


@pytest.fixture
def log() -> Iterator[list[EventDict]]:
    """All events, with the values that requests and jobs have bound."""
    with structlog.testing.capture_logs(processors=[merge_contextvars]) as captured:
        yield captured


async def test_lines_of_a_job_and_of_its_jobs_carry_the_request(
    database_url: str, log: list[EventDict]
) -> None:
    harness, runs = WorkerHarness(database_url), RecordedRuns()
    second = Job("made.second", runs)

    async def enqueue_another(context: Context, number: int) -> None:
        async with context.database.transaction() as session:
            await enqueue(session, second, number=number)

    first = Job("made.first", enqueue_another)
    async with harness.worker(first, second):
        with bound_contextvars(request_id="mine"):
            await harness.enqueue(first, number=1)
        await harness.enqueue(second, number=2)
        await runs.wait_for_runs(2)
        await harness.wait_until_empty()
    # The handlers get nothing of it.
    assert sorted(each["number"] for each in runs.arguments) == [1, 2]
    assert all(each.keys() == {"number"} for each in runs.arguments)
    done = [(each["job"], each.get("request_id")) for each in events_named(log, "job_done")]
    assert sorted(done, key=str) == [
        ("made.first", "mine"),
        ("made.second", "mine"),
        ("made.second", None),
    ]


async def test_an_administrator_sees_the_request_of_a_job(admin: Actor, client: Client) -> None:
    body = {"email": "grace@example.com", "password": "correct horse battery"}
    sent = await client.post("/api/v1/auth/register", json=body, headers={"X-Request-ID": "mine"})
    assert sent.status_code == 201
    (job,) = (await admin.get("/api/v1/jobs")).json()["data"]
    assert job["request_id"] == "mine"
    assert job["arguments"].keys() == {"token_id"}


async def test_a_request_line_has_the_address_of_the_client(
    client: Client, log: list[EventDict]
) -> None:
    await client.get("/nowhere")
    (line,) = events_named(log, "request")
    assert line["client"] == "127.0.0.1"


async def test_successful_health_checks_are_logged_once_a_minute_and_failures_always(
    database_url: str, log: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def statuses(count: int) -> list[int]:
        log.clear()
        for _ in range(count):
            await client.get("/health/ready")
        return [line["status"] for line in events_named(log, "request")]

    async with starting(database_url) as (client, context):
        assert await statuses(3) == [503, 503, 503]
        context.state.started = True
        assert await statuses(3) == [200]
        context.state.draining = True
        assert await statuses(2) == [503, 503]
        context.state.draining = False
        assert await statuses(2) == [200]
        monkeypatch.setattr(request_context, "PROBE_LOG_SECONDS", 0.0)
        assert await statuses(2) == [200, 200]
        # Each route counts for itself, and other routes are always logged.
        monkeypatch.setattr(request_context, "PROBE_LOG_SECONDS", 60.0)
        log.clear()
        for path in ("/health/live", "/health", "/health/live", "/nowhere", "/nowhere"):
            await client.get(path)
        assert [line["route"] for line in events_named(log, "request")] == [
            *("/health/live", "/health", None, None),
        ]
