"""Unhandled errors are reported to Sentry, in groups and without personal data."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import structlog
from structlog.typing import EventDict

from backend.core.authorization import public
from backend.core.context import Context
from backend.core.errors import ConflictError
from backend.core.http.routing import Router
from backend.core.jobs import Job
from backend.core.module import Module
from backend.db.errors import DatabaseUnavailableError
from backend.telemetry import error_reports as reports_file
from backend.telemetry.error_reports import ErrorReports
from tests.applications import MODULES, make_app, make_context
from tests.receivers import Receiver, receiver
from tests.worker_harness import WorkerHarness, was_logged

CANARY = "canary-4711"
odd = Router(prefix="/made-odd", tags=["made_odd"])


@odd.post("/crash/{thing}", dependencies=[public])
async def crash(thing: str) -> None:
    secret = f"{CANARY} of {thing}"
    try:
        raise ValueError(secret)
    except ValueError as error:
        raise KeyError(secret) from error


@odd.get("/conflict", dependencies=[public])
async def conflict() -> None:
    raise ConflictError


@odd.get("/down", dependencies=[public])
async def down() -> None:
    raise DatabaseUnavailableError(CANARY)


@odd.get("/logged", dependencies=[public])
async def logged() -> None:
    structlog.get_logger().error("odd", secret=CANARY)


WITH_ODD = (*MODULES, Module("made_odd", router=odd, versioned=False))


@pytest.fixture
def sentry() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def reporting_to(url: str) -> ErrorReports:
    return ErrorReports(
        f"{url.replace('//', '//key@')}/1", environment="test", release="trellis@1", instance="one"
    )


@pytest.fixture
async def client(database_url: str, sentry: Receiver) -> AsyncIterator[httpx.AsyncClient]:
    context = make_context(database_url, WITH_ODD, error_reports=reporting_to(sentry.url))
    context.state.started = True
    transport = httpx.ASGITransport(app=make_app(context, WITH_ODD))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as made:
        yield made
    await context.close()


async def events(sentry: Receiver, count: int) -> list[dict[str, Any]]:
    await asyncio.to_thread(sentry.wait_for, count)
    return sentry.events()


async def test_an_unhandled_error_is_reported_without_personal_data(
    client: httpx.AsyncClient, sentry: Receiver
) -> None:
    headers = {"x-request-id": "r1", "cookie": f"a={CANARY}", "user-agent": CANARY}
    crashed = await client.post(f"/made-odd/crash/{CANARY}", headers=headers, json={"a": CANARY})
    assert crashed.status_code == 500
    (event,) = await events(sentry, 1)
    assert event["transaction"] == "POST /made-odd/crash/{thing}"
    assert event["fingerprint"] == ["KeyError", "POST /made-odd/crash/{thing}"]
    assert event["tags"] == {"request_id": "r1"}
    assert (event["level"], event["environment"]) == ("error", "test")
    assert (event["release"], event["server_name"]) == ("trellis@1", "one")
    types = [each["type"] for each in event["exception"]["values"]]
    assert types == ["ValueError", "KeyError"]
    frames = event["exception"]["values"][-1]["stacktrace"]["frames"]
    assert frames[-1]["function"] == "crash"
    assert "raise KeyError(secret)" in frames[-1]["context_line"]
    # Lines of source code, and nothing that they held.
    assert f"{CANARY} of" not in json.dumps(event)
    everything = b"".join(body for _, body in sentry.bodies).decode()
    for secret in (f'"{CANARY}', f"/{CANARY}", "127.0.0.1", "testserver", "vars", '"user"'):
        assert secret not in everything
    assert not event.keys() & {"request", "user", "breadcrumbs", "extra", "modules", "contexts"}


async def test_equal_errors_are_reported_once_a_minute(
    client: httpx.AsyncClient, sentry: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        await client.post("/made-odd/crash/1")
    assert len(await events(sentry, 1)) == 1
    monkeypatch.setattr(reports_file, "SECONDS_BETWEEN_EQUALS", 0)
    await client.post("/made-odd/crash/1")
    assert len(await events(sentry, 2)) == 2


async def test_expected_responses_and_log_lines_are_no_reports(
    client: httpx.AsyncClient, sentry: Receiver
) -> None:
    for path, status in (
        ("/made-odd/conflict", 409),
        ("/made-odd/down", 503),
        ("/made-odd/logged", 200),
        ("/nowhere", 404),
        ("/api/v1/users/me", 401),
        ("/made-odd/logged?x=1", 422),
    ):
        assert (await client.get(path)).status_code == status
    await client.post("/made-odd/crash/1")
    assert [each["transaction"] for each in await events(sentry, 1)] == [
        "POST /made-odd/crash/{thing}"
    ]


async def test_the_first_and_the_last_failure_of_a_job_are_reported(
    own_database_url: str, sentry: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports_file, "SECONDS_BETWEEN_EQUALS", 0)
    failures: list[Exception] = [ValueError(CANARY), ValueError(), DatabaseUnavailableError()]

    async def run(_: Context, **__: Any) -> None:
        raise failures.pop(0) if failures else RuntimeError(CANARY)

    outage = Job("made.outage", attempts=1, run=_unavailable)
    job = Job("made.job", run, attempts=4)
    harness = WorkerHarness(own_database_url)
    with structlog.testing.capture_logs() as log:
        async with harness.worker(job, outage, error_reports=reporting_to(sentry.url)):
            structlog.contextvars.bind_contextvars(request_id="r7")
            await harness.enqueue(job)
            await harness.enqueue(outage)
            structlog.contextvars.unbind_contextvars("request_id")
            await harness.wait_until(lambda: was_logged(log, "job_dead"))
    found = [
        (each["transaction"], each["fingerprint"][0], each["tags"]["request_id"])
        for each in sentry.events()
    ]
    assert found == [("job made.job", "ValueError", "r7"), ("job made.job", "RuntimeError", "r7")]
    assert CANARY not in str(sentry.events())


async def _unavailable(*_: object, **__: object) -> None:
    raise DatabaseUnavailableError


async def test_lost_reports_are_logged_once(
    client: httpx.AsyncClient,
    sentry: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    log: list[EventDict],
) -> None:
    monkeypatch.setattr(reports_file, "SECONDS_BETWEEN_EQUALS", 0)
    sentry.status = 500
    for _ in range(3):
        await client.post("/made-odd/crash/1")
    await events(sentry, 3)
    lost = reporting_to("http://127.0.0.1:1")
    lost.report(ValueError(), "command")
    await lost.close()
    reasons = [each["reason"] for each in log if each["event"] == "error_reports_lost"]
    assert sorted(reasons) == ["network", "status_500"]
    assert not caplog.records


async def test_a_dead_receiver_delays_neither_requests_nor_the_end(
    database_url: str, sentry: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the bounds, this test would wait for a minute."""
    monkeypatch.setattr(reports_file, "FLUSH_SECONDS", 0.2)
    monkeypatch.setattr(reports_file, "SECONDS_BETWEEN_EQUALS", 0)
    sentry.flows.clear()
    context = make_context(database_url, WITH_ODD, error_reports=reporting_to(sentry.url))
    context.state.started = True
    transport = httpx.ASGITransport(app=make_app(context, WITH_ODD))
    async with (
        asyncio.timeout(20),
        httpx.AsyncClient(transport=transport, base_url="http://testserver") as made,
    ):
        for _ in range(5):
            assert (await made.post("/made-odd/crash/1")).status_code == 500
        await context.close()
