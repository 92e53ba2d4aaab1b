"""Requests, statements, jobs and calls of other services are spans of one trace."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
import structlog
from fastapi import FastAPI
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from backend.core.authorization import public
from backend.core.context import Context
from backend.core.events import Event, durable, publish
from backend.core.http.dependencies import CurrentContext, Reader, Session
from backend.core.http.routing import Router
from backend.core.jobs import Job, enqueue
from backend.core.module import Module
from backend.core.telemetry_settings import TelemetrySettings, export_otel_variables
from backend.db.coalescer import Coalescer
from backend.db.queries import Statement
from backend.integrations.email import MailError, Message
from backend.integrations.email.resend import ResendProvider
from backend.telemetry import tracing as tracing_file
from backend.telemetry.span_export import start_export
from backend.telemetry.tracing import (
    Tracing,
    active_span,
    active_trace_id,
    add_trace_id,
    child_span,
    trace_headers,
    trace_headers_of,
)
from tests.actors import PASSWORD, ActorFactory
from tests.applications import MODULES, make_app, make_context
from tests.receivers import ReceivedSpan, Receiver, receiver
from tests.servers import serving
from tests.worker_harness import WorkerHarness, was_logged

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
SERVER, CLIENT, CONSUMER = 2, 3, 5  # the kinds, in OTLP
CANARY = "canary-4711"
odd = Router(prefix="/made-odd", tags=["made_odd"])
MADE = Job("made_odd.made", attempts=1, run=lambda *_, **__: asyncio.sleep(0))


@odd.post("/jobs", status_code=204, dependencies=[public])
async def make_job(session: Session) -> None:
    await enqueue(session, MADE, thing="1")


@odd.get("/crash/{thing}", dependencies=[public])
async def crash(thing: str) -> None:
    raise RuntimeError(CANARY)


@odd.get("/slow", dependencies=[public])
async def fail(reader: Reader) -> None:
    await reader.all(Statement("SELECT 'canary-4711' FROM missing"))


@dataclass(frozen=True)
class Rung(Event):
    times: int


async def hear(_: Context, event: Rung, event_id: UUID) -> None:
    await asyncio.sleep(0)


@odd.post("/bell", status_code=204, dependencies=[public])
async def ring(context: CurrentContext, session: Session) -> None:
    await publish(context, session, Rung(2))


HEARD = durable(Rung, hear, name="made_odd.hear")
ODD = Module("made_odd", router=odd, versioned=False, jobs=(MADE,), subscribers=(HEARD,))
WITH_ODD = (*MODULES, ODD)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Spans are exported as soon as they end, and the threads of a test end with it."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    yield
    join_exports()


def join_exports() -> None:
    """Wait for the threads that export.

    One that repeats an export draws a random pause, which Hypothesis would notice in a later test.
    """
    for thread in threading.enumerate():
        if thread.name.startswith("OtelBatch"):
            thread.join(30)
            assert not thread.is_alive(), thread.name


@pytest.fixture
def collector() -> Iterator[Receiver]:
    with receiver() as running:
        yield running
        running.flows.set()
        join_exports()


def exported_to(url: str) -> Tracing:
    return start_export(f"{url}/v1/traces", {"service.name": "trellis"})


@pytest.fixture
async def traced(database_url: str, collector: Receiver) -> AsyncIterator[Context]:
    context = make_context(database_url, WITH_ODD, tracing=exported_to(collector.url))
    context.state.started = True
    yield context
    await context.close()


@pytest.fixture
def traced_app(traced: Context) -> FastAPI:
    return make_app(traced, WITH_ODD)


def calling(app: FastAPI) -> httpx.AsyncClient:
    """A client whose responses are not checked against OpenAPI, which lacks the odd routes."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://testserver")


async def received(collector: Receiver, name: str) -> ReceivedSpan:
    return await asyncio.to_thread(collector.span, name)


async def test_a_request_and_its_statements_are_one_trace(
    traced: Context, traced_app: FastAPI, collector: Receiver
) -> None:
    factory = ActorFactory(traced_app, traced)
    async with factory.stack:
        ada = await factory("ada")
        item = (await ada.post("/api/v1/items", json={"title": CANARY})).json()
        found = await ada.get(
            f"/api/v1/items/{item['id']}?fields=id,title", headers={**SAMPLED, "x-request-id": "r1"}
        )
    assert found.status_code == 200
    request = await received(collector, "GET /api/v1/items/{id}")
    assert (request.kind, request.trace, request.parent) == (SERVER, TRACE, PARENT)
    assert request.attributes == {
        "http.request.method": "GET",
        "http.route": "/api/v1/items/{id}",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "trellis.request_id": "r1",
    }
    assert request.resource["service.name"] == "trellis"
    created = await received(collector, "POST /api/v1/items")
    assert (created.parent, len(created.trace)) == ("", 32)
    for parent, statement in ((request, "SELECT items"), (created, "INSERT items")):
        children = [each for each in collector.spans() if each.parent == parent.id]
        (span,) = [each for each in children if each.name == statement]
        assert (span.kind, span.trace, span.failed) == (CLIENT, parent.trace, False)
        assert span.attributes == {"db.system.name": "postgresql", "db.query.summary": statement}
    sent = b"".join(body for _, body in collector.bodies)
    for secret in (CANARY, item["id"], "ada@", str(ada.id), ada.token, PASSWORD, "fields", "127."):
        assert secret.encode() not in sent


async def test_failures_are_marked_by_their_kind_alone(
    traced_app: FastAPI, collector: Receiver
) -> None:
    async with calling(traced_app) as client:
        assert (await client.get(f"/made-odd/crash/{CANARY}")).status_code == 500
        assert (await client.get("/made-odd/slow")).status_code == 500
        assert (await client.get(f"/{CANARY}")).status_code == 404
    crashed = await received(collector, "GET /made-odd/crash/{thing}")
    assert (crashed.failed, crashed.attributes["error.type"]) == (True, "500")
    assert crashed.attributes["exception.type"] == "RuntimeError"
    statement = await received(collector, "SELECT missing")
    assert (statement.failed, statement.attributes["error.type"]) == (True, "UndefinedTable")
    assert statement.attributes["db.response.status_code"] == "42P01"
    refused = await received(collector, "GET /made-odd/slow")
    assert (refused.attributes["error.type"], refused.attributes["exception.type"]) == (
        *("500", "UndefinedTable"),
    )
    assert trouble_of(refused) == ("wrong_schema", "42P01")
    unknown = await received(collector, "GET")
    assert (unknown.failed, unknown.attributes["http.response.status_code"]) == (False, 404)
    assert CANARY.encode() not in b"".join(body for _, body in collector.bodies)


async def test_a_wait_for_a_connection_is_a_span_of_its_request(
    database_url: str, collector: Receiver
) -> None:
    options: dict[str, Any] = {"database_pool_size": 2, "database_pool_timeout": 0.1}
    context = make_context(database_url, WITH_ODD, tracing=exported_to(collector.url), **options)
    context.state.started = True
    gate = context.database.primary.gate
    async with calling(make_app(context, WITH_ODD)) as client:
        async with gate.place():
            assert (await client.get("/made-odd/slow")).status_code == 503
        async with gate.place():
            second_call = asyncio.create_task(client.get("/made-odd/slow"))
            while not gate.waiting:  # noqa: ASYNC110  # the gate sets no event
                await asyncio.sleep(0)
        assert (await second_call).status_code == 500
    await context.close()
    first, second = [each for each in collector.spans() if each.name == "GET /made-odd/slow"]
    assert trouble_of(first) == ("pool_exhausted", None)
    waits = [each for each in collector.spans() if each.name == "wait for connection"]
    assert [each.parent for each in waits] == [first.id, second.id]
    found = [(each.failed, each.attributes["trellis.wait.outcome"]) for each in waits]
    assert found == [(True, "timed_out"), (False, "granted")]
    assert {each.attributes["db.client.connection.pool.name"] for each in waits} == {"reads"}
    assert all(each.seconds > 0 for each in waits)


def trouble_of(span: ReceivedSpan) -> tuple[Any, Any]:
    """The kind of a database error and its SQLSTATE."""
    attributes = span.attributes
    return attributes.get("trellis.database.trouble"), attributes.get("db.response.status_code")


async def test_health_checks_and_unusable_parents(traced_app: FastAPI, collector: Receiver) -> None:
    async with calling(traced_app) as client:
        assert (await client.get("/health/live")).status_code == 200
        for number, parent in enumerate(("x", f"00-{'0' * 32}-{PARENT}-01", "00" * 2000)):
            headers = {"traceparent": parent, "x-request-id": f"r{number}"}
            assert (await client.get("/errors/NOT_FOUND", headers=headers)).status_code == 200
    await asyncio.to_thread(collector.wait_for, 3)
    assert {(each.name, each.parent) for each in collector.spans()} == {("GET /errors/{code}", "")}


async def test_health_checks_below_a_prefix_have_no_spans(
    database_url: str, collector: Receiver
) -> None:
    context = make_context(
        database_url, WITH_ODD, tracing=exported_to(collector.url), root_path="/shop"
    )
    async with calling(make_app(context, WITH_ODD)) as client:
        for path in ("/shop/health/live", "/shop/errors/NOT_FOUND"):
            assert (await client.get(path)).status_code == 200
    await context.close()
    assert [each.name for each in collector.spans()] == ["GET /errors/{code}"]


async def test_a_job_belongs_to_the_trace_of_its_request(
    own_database_url: str, collector: Receiver
) -> None:
    ran: list[str | None] = []

    async def run(_: Context, **arguments: Any) -> None:
        assert arguments == {"thing": "1"}
        ran.append(active_trace_id())
        raise ValueError(CANARY)

    context = make_context(own_database_url, WITH_ODD, tracing=exported_to(collector.url))
    context.state.started = True
    async with calling(make_app(context, WITH_ODD)) as client:
        assert (await client.post("/made-odd/jobs", headers=SAMPLED)).status_code == 204
    request = await received(collector, "POST /made-odd/jobs")
    harness = WorkerHarness(own_database_url)
    (stored,) = await harness.jobs()
    assert stored["args"]["_origin"]["traceparent"] == f"00-{TRACE}-{request.id}-01"
    job = Job(MADE.name, run, attempts=1)
    with structlog.testing.capture_logs(processors=[add_trace_id]) as log:
        # A process of its own has its own export.
        async with harness.worker(job, tracing=exported_to(collector.url)):
            await harness.wait_until(lambda: was_logged(log, "job_dead"))
    await context.close()
    assert ran == [TRACE]
    span = await received(collector, f"job {MADE.name}")
    assert (span.kind, span.trace, span.parent) == (CONSUMER, TRACE, request.id)
    assert (span.failed, span.attributes["error.type"]) == (True, "ValueError")
    assert span.attributes["trellis.job.attempt"] == 1
    (dead,) = [each for each in log if each["event"] == "job_dead"]
    assert dead["trace_id"] == TRACE
    assert CANARY.encode() not in b"".join(body for _, body in collector.bodies)


async def test_a_delivery_belongs_to_the_trace_of_the_request_that_published(
    own_database_url: str, collector: Receiver
) -> None:
    context = make_context(own_database_url, WITH_ODD, tracing=exported_to(collector.url))
    context.state.started = True
    async with calling(make_app(context, WITH_ODD)) as client:
        assert (await client.post("/made-odd/bell", headers=SAMPLED)).status_code == 204
    request = await received(collector, "POST /made-odd/bell")
    harness = WorkerHarness(own_database_url)
    async with harness.worker(subscribers=(HEARD,), tracing=exported_to(collector.url)):
        await harness.wait_until_empty()
    await context.close()
    span = await received(collector, f"job {HEARD.name}")
    assert (span.kind, span.trace, span.parent) == (CONSUMER, TRACE, request.id)


async def test_log_lines_have_the_trace_while_it_is_active(
    traced_app: FastAPI, database_url: str
) -> None:
    untraced = make_app(make_context(database_url, WITH_ODD), WITH_ODD)
    with structlog.testing.capture_logs(processors=[add_trace_id]) as log:
        for app in (traced_app, untraced):
            async with calling(app) as client:
                await client.get("/errors/NOT_FOUND", headers=SAMPLED)
    first, second = [each for each in log if each["event"] == "request"]
    assert first["trace_id"] == TRACE
    assert "trace_id" not in second
    assert active_span.get() is None


@pytest.mark.parametrize("flag", ["00", "01"])
async def test_the_decision_of_the_parent_is_passed_on(
    database_url: str, collector: Receiver, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    context = make_context(database_url, WITH_ODD, tracing=exported_to(collector.url))
    context.state.started = True
    parent = {"traceparent": f"00-{TRACE}-{PARENT}-{flag}"}
    async with calling(make_app(context, WITH_ODD)) as client:
        assert (await client.get("/errors/NOT_FOUND")).status_code == 200
        assert (await client.post("/made-odd/jobs", headers=parent)).status_code == 204
    await context.close()
    traces = {each.trace for each in collector.spans()}
    assert traces == ({TRACE} if flag == "01" else set())
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = await connection.execute(
            "SELECT args #>> '{_origin,traceparent}' FROM procrastinate_jobs"
        )
        rows = await cursor.fetchall()
    (stored,) = [value for (value,) in rows]
    assert (stored[3:35], stored[-2:]) == (TRACE, flag)


async def test_a_call_of_another_service_names_its_span(collector: Receiver) -> None:
    assert trace_headers() == {}
    with child_span("outside", {}) as nothing:
        assert nothing is None
    tracing = exported_to(collector.url)
    request = tracing.start("request", SpanKind.SERVER, SAMPLED, {})
    with pytest.raises(OSError), child_span("POST service", {"a": 1}, SpanKind.CLIENT):  # noqa: PT011, PT012
        headers = trace_headers()
        raise OSError(CANARY)
    request.finish()
    await tracing.close()
    call, outer = await received(collector, "POST service"), await received(collector, "request")
    assert headers == {"traceparent": f"00-{TRACE}-{call.id}-01"}
    assert (call.parent, call.kind, call.failed) == (outer.id, CLIENT, True)
    assert call.attributes == {"a": 1, "error.type": "OSError"}


async def test_the_text_of_a_tracestate_is_not_logged_stored_or_forwarded(
    traced: Context, traced_app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    assert traced.tracing is not None
    for state in (CANARY, f"{CANARY}=1", f"a=1,a={CANARY}", f"A B={CANARY}", "a=1," * 40):
        headers = {**SAMPLED, "tracestate": state}
        assert trace_headers_of((k.encode(), v.encode()) for k, v in headers.items()) == SAMPLED
        # Should it arrive nevertheless, the library writes it into no log line.
        traced.tracing.start("request", SpanKind.SERVER, headers, {}).finish()
        async with calling(traced_app) as client:
            assert (await client.post("/made-odd/jobs", headers=headers)).status_code == 204
    jobs = await traced.database.primary.all(Statement("SELECT args FROM procrastinate_jobs"))
    assert len(jobs) == 5
    assert all(each["args"]["_origin"].keys() == {"traceparent", "request_id"} for each in jobs)
    assert not caplog.records


async def test_a_mail_through_resend_is_a_call_of_another_service(collector: Receiver) -> None:
    asked: list[str] = []

    async def take(request: Request) -> JSONResponse:
        asked.append(request.headers["traceparent"])
        return JSONResponse({"name": "x"}, 500)

    tracing = exported_to(collector.url)
    message = Message(to="ada@example.com", subject=CANARY, text="", html="", id="made.1")
    async with serving(Starlette(routes=[Route("/emails", take, methods=["POST"])])) as url:
        job = tracing.start("job", SpanKind.CONSUMER, SAMPLED, {})
        sender = ResendProvider("key", "no-reply@example.com", url=url, attempts=1)
        with pytest.raises(MailError):
            await sender.send(message)
        job.finish()
    await tracing.close()
    call = await received(collector, "POST resend")
    assert asked == [f"00-{TRACE}-{call.id}-01"]
    assert call.attributes == {
        "error.type": "ServiceUnavailableError",
        "http.request.method": "POST",
        "http.response.status_code": 500,
        "peer.service": "resend",
    }
    assert CANARY.encode() not in collector.bodies[-1][1]


async def test_a_shared_round_trip_belongs_to_its_first_load(collector: Receiver) -> None:
    tracing = exported_to(collector.url)
    sent: list[str | None] = []
    first_sent, goes_on = asyncio.Event(), asyncio.Event()

    async def send(loads: Any) -> dict[int, int]:
        sent.append(active_trace_id())
        first_sent.set()
        await goes_on.wait()
        return dict.fromkeys(loads, 0)

    coalescer = Coalescer[int, int](send)

    async def load(trace: str) -> None:
        parent = {"traceparent": f"00-{trace * 32}-{PARENT}-01"}
        span = tracing.start("request", SpanKind.SERVER, parent, {})
        await coalescer.load(1)
        span.finish()

    tasks = [asyncio.create_task(load("a"))]
    await first_sent.wait()
    tasks += [asyncio.create_task(load(each)) for each in ("b", "c")]
    await asyncio.sleep(0)
    goes_on.set()
    await asyncio.gather(*tasks)
    await coalescer.load(1)
    assert sent == ["a" * 32, "b" * 32, None]
    await tracing.close()


async def test_a_dead_receiver_delays_neither_requests_nor_the_end(
    database_url: str, collector: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the bounds, this test would wait for a minute."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    monkeypatch.setattr(tracing_file, "FLUSH_SECONDS", 0.2)
    collector.flows.clear()
    context = make_context(database_url, WITH_ODD, tracing=exported_to(collector.url))
    context.state.started = True
    async with asyncio.timeout(20), calling(make_app(context, WITH_ODD)) as client:
        for _ in range(20):
            assert (await client.get("/errors/NOT_FOUND")).status_code == 200
        await context.close()


async def test_the_last_spans_are_sent_although_a_store_cannot_be_closed(
    database_url: str, collector: Receiver
) -> None:
    class BrokenError(Exception): ...

    async def fail() -> None:
        raise BrokenError

    made = make_context(
        database_url,
        tracing=exported_to(collector.url),
        rate_limit_enabled=True,
        rate_limit_storage="memory",
    )
    assert made.limits is not None
    assert made.tracing is not None
    context = replace(made, limits=replace(made.limits, close=fail))
    made.tracing.start("last", SpanKind.SERVER, {}, {}).finish()
    with pytest.raises(BrokenError):
        await context.close()
    assert [each.name for each in collector.spans()] == ["last"]


async def test_an_outage_of_the_receiver_is_logged_once() -> None:
    with receiver() as collector:
        collector.status = 400
        tracing = exported_to(collector.url)
        with structlog.testing.capture_logs() as log:
            for number in range(4):
                collector.status = 400 if number < 2 else 200
                tracing.start("request", SpanKind.SERVER, {}, {}).finish()
                await asyncio.to_thread(collector.wait_for, number + 1)
            await tracing.close()
    events = [each["event"] for each in log if each["event"].startswith("traces_")]
    assert events == ["traces_away", "traces_accepted_again"]


async def test_two_applications_export_to_their_own_receivers(database_url: str) -> None:
    with receiver() as first, receiver() as second:
        contexts = [
            make_context(database_url, WITH_ODD, tracing=exported_to(each.url))
            for each in (first, second)
        ]
        for context, path in zip(contexts, ("/errors/NOT_FOUND", "/nowhere"), strict=True):
            async with calling(make_app(context, WITH_ODD)) as client:
                await client.get(path)
        for context in contexts:
            await context.close()
        assert {each.name for each in first.spans()} == {"GET /errors/{code}"}
        assert {each.name for each in second.spans()} == {"GET"}


def test_endpoints(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    base = "http://collector:4318/"
    made = {"otel_exporter_otlp_endpoint": base}
    own = {"otel_exporter_otlp_traces_endpoint": "https://other/traces"}
    for values, endpoint in (
        ({}, None),
        (made, "http://collector:4318/v1/traces"),
        ({**made, **own}, "https://other/traces"),
        ({**made, "otel_traces_exporter": "none"}, None),
    ):
        assert TelemetrySettings.model_validate(values).traces_endpoint == endpoint
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from the environment")
    monkeypatch.delenv("OTEL_BSP_SCHEDULE_DELAY")
    (tmp_path / ".env").write_text("OTEL_SERVICE_NAME=x\nOTEL_BSP_SCHEDULE_DELAY=7\nPATH=x\n")
    export_otel_variables()
    import os

    assert os.environ["OTEL_SERVICE_NAME"] == "from the environment"
    assert os.environ["OTEL_BSP_SCHEDULE_DELAY"] == "7"
    assert os.environ["PATH"] != "x"
