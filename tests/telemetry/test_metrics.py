"""The metrics of an application: what they count, and the values that labels may have."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from prometheus_client import values
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from structlog.typing import EventDict

from backend.core import metrics as metrics_file
from backend.core.context import Context
from backend.core.http import proxy_watch as proxy_watch_file
from backend.core.http.proxy_watch import proxies_watched, proxy_watch
from backend.core.jobs import Job, enqueue
from backend.core.metrics import sample, sampled, set_replica_lag
from backend.core.principal import SYSTEM
from backend.db.queries import Query
from backend.db.transactions import discard
from backend.integrations.email import Message
from backend.modules.mail import service as mail_service
from backend.modules.mail.service import deliver
from backend.product import VERSION
from backend.telemetry.endpoint import keep_values_in_files, registry_of
from backend.telemetry.metrics import MAX_STATEMENTS, Metrics
from backend.worker import queue_metrics as queue_file
from backend.worker.queue_metrics import DEAD, queue_sampled, sample_dead, sample_queue
from backend.worker.supervisor import work
from tests.actors import PASSWORD, Actor, Client
from tests.applications import make_app, make_context
from tests.commands import ROOT
from tests.samples import sample as sample_module

API = "/api/v1"
REQUESTS = "trellis_http_request_duration_seconds_count"
TROUBLES = "trellis_database_errors_total"
STATEMENTS = "trellis_database_statement_duration_seconds_count"


@pytest.fixture
async def observed(database_url: str) -> AsyncIterator[Context]:
    """A context with metrics and with limits, cache and a pool of two connections."""
    context = make_context(
        database_url,
        metrics=Metrics(),
        rate_limit_enabled=True,
        rate_limit_storage="memory",
        cache_storage="memory",
        database_pool_size=2,
        database_slow_statement=0.2,
    )
    context.state.started = True
    yield context
    await context.close()


@pytest.fixture
async def client(observed: Context) -> AsyncIterator[Client]:
    async with Client(make_app(observed)) as anonymous:
        yield anonymous


def value(context: Context, metric: str, /, **labels: str) -> float:
    """Return the sum of the samples of this name with at least these labels."""
    assert context.metrics is not None
    context.metrics.flush()
    return sum(
        found.value
        for family in context.metrics.registry.collect()
        for found in family.samples
        if found.name == metric and labels.items() <= found.labels.items()
    )


def test_the_version_is_a_label() -> None:
    labels = {"version": VERSION}
    assert Metrics().registry.get_sample_value("trellis_build_info", labels) == 1


async def test_requests_by_template_method_and_status(client: Client, observed: Context) -> None:
    for path in ("/nowhere", "/other/../nowhere", f"{API}/items/1", f"{API}/items"):
        await client.get(path)
    for method in ("BREW", "PROPFIND"):
        await client.request(method, "/health/live")
    assert value(observed, REQUESTS, route="unknown", status="404", method="GET") == 2
    assert value(observed, REQUESTS, route=f"{API}/items/{{id}}", status="401") == 1
    assert value(observed, REQUESTS, route=f"{API}/items", status="401", method="GET") == 1
    assert value(observed, REQUESTS, method="other", status="405") == 2
    assert value(observed, REQUESTS) == 6
    assert value(observed, "trellis_http_request_duration_seconds_bucket", le="+Inf") == 6
    assert observed.metrics is not None
    assert observed.metrics.requests_under_way == 0


async def test_two_applications_do_not_meet(client: Client, observed: Context) -> None:
    other = make_context("postgresql://nobody@127.0.0.1:1/none", metrics=Metrics())
    await client.get("/nowhere")
    assert (value(observed, REQUESTS), value(other, REQUESTS)) == (1, 0)
    await other.close()


async def test_statements_by_name_in_transactions_and_outside(
    client: Client, observed: Context
) -> None:
    sample_module("accounts.manifest")  # which has the route of registration
    await client.post(f"{API}/auth/register", json={"email": "a@b.example", "password": PASSWORD})
    assert value(observed, STATEMENTS, statement="INSERT users") == 1
    assert value(observed, STATEMENTS, statement="SELECT procrastinate_defer_jobs_v1") == 1
    # A new name cannot come from a client; should it nevertheless, there is a last one.
    assert observed.metrics is not None
    for number in range(MAX_STATEMENTS + 5):
        observed.metrics.statement(f"SELECT {number}", 0.1)
    assert value(observed, STATEMENTS, statement="other") > 5


async def test_slow_and_failed_statements_are_logged_by_name_without_values(
    observed: Context, log: list[EventDict]
) -> None:
    await observed.database.primary.all(Query(select(func.pg_sleep(0.25).label("slept"))))
    divide = text("SELECT 1 / (length(:secret || CAST(pg_sleep(0.25) AS text)) - 6)")
    async with observed.database.transaction() as session:
        connection = await session.connection()
        with pytest.raises(DBAPIError):
            await connection.execute(divide, {"secret": "hidden"})
        await discard(session)
    slow = [event for event in log if event["event"] == "slow_statement"]
    assert [event["statement"] for event in slow] == ["SELECT pg_sleep", "SELECT"]
    assert all(event["duration_ms"] >= 200 for event in slow)
    assert "hidden" not in str(log)


async def test_sign_ins_by_outcome_and_limits_by_name(
    client: Client, observed: Context, ada: Actor
) -> None:
    body = {"email": ada.email, "password": PASSWORD}
    assert (await client.post(f"{API}/auth/login", json=body)).status_code == 200
    for _ in range(7):
        await client.post(f"{API}/auth/login", json={**body, "password": "wrong"})
    assert value(observed, "trellis_sign_ins_total", outcome="success") == 1
    assert value(observed, "trellis_sign_ins_total", outcome="invalid_credentials") == 5
    assert value(observed, "trellis_sign_ins_total", outcome="rate_limited") == 2
    assert value(observed, "trellis_rate_limited_total", limit="passwords") == 2
    for _ in range(70):
        await client.get(f"{API}/articles")
    assert value(observed, "trellis_rate_limited_total", limit="requests") > 5
    assert value(observed, "trellis_cache_requests_total", outcome="unavailable") > 5


async def test_waits_for_a_pool(observed: Context) -> None:
    async def hold() -> None:
        async with observed.database.transaction() as session:
            await session.connection()
            await asyncio.sleep(0.05)

    holding = [asyncio.create_task(hold()) for _ in range(2)]
    await asyncio.sleep(0.03)
    assert observed.metrics is not None
    sample(observed, observed.metrics)
    assert value(observed, "trellis_database_pool_size", pool="transactions") == 1
    assert value(observed, "trellis_database_pool_in_use", pool="transactions") == 1
    assert value(observed, "trellis_database_pool_waiting", pool="transactions") == 1
    await asyncio.gather(*holding)
    waits = "trellis_database_pool_wait_seconds_count"
    assert value(observed, waits, pool="transactions", outcome="granted") == 1


async def test_a_database_that_is_down_is_counted_and_breaks_no_sample(observed: Context) -> None:
    context = make_context("postgresql://nobody@127.0.0.1:1/none", metrics=Metrics())
    context.state.started = True
    async with Client(make_app(context)) as client:
        assert (await client.get(f"{API}/articles")).status_code == 503
    assert context.metrics is not None
    sample(context, context.metrics)
    assert value(context, TROUBLES, trouble="down") == 1
    await sample_module("health.service", "readiness")(context)
    counted = value(context, TROUBLES, trouble="down")
    assert counted > 1
    stopping = asyncio.Event()
    worker = asyncio.create_task(work(context, (), stopping))
    async with asyncio.timeout(20):
        while value(context, TROUBLES, trouble="down") == counted:  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.01)
    stopping.set()
    await worker


async def test_the_numbers_of_the_queue_outlive_a_short_outage(
    log: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_file, "INTERVAL_SECONDS", 0.01)
    context = make_context("postgresql://nobody@127.0.0.1:1/none", metrics=Metrics())
    assert context.metrics is not None
    context.metrics.jobs_waiting.labels("made.known").set(3)
    async with queue_sampled(context, ["made.known"]), asyncio.timeout(20):
        while not log:  # noqa: ASYNC110  # the task sets no event
            await asyncio.sleep(0.01)
        assert value(context, "trellis_jobs_waiting") == 3
        monkeypatch.setattr(queue_file, "KEPT_SECONDS", 0)
        while value(context, "trellis_jobs_waiting"):  # noqa: ASYNC110  # see above
            await asyncio.sleep(0.01)
    await context.close()


async def test_a_failed_report_or_sample_ends_no_task(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a database without the newest migrations."""
    samples: list[None] = []

    def fail(*_: object) -> None:
        samples.append(None)
        raise ValueError

    monkeypatch.setattr(metrics_file, "sample", fail)
    monkeypatch.setattr(metrics_file, "INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(proxy_watch_file, "EXAMINE_SECONDS", 0.01)
    without_tables = re.sub(r"/t_\w+", "/postgres", database_url)
    context = make_context(without_tables, metrics=Metrics())
    watch = proxy_watch(context)
    scope = {"path": "/x", "client": ("10.0.0.1", 1), "headers": [(b"x-forwarded-for", b"::2")]}
    watch.examine(scope, 0)
    with pytest.raises(psycopg.errors.UndefinedTable):
        await watch.report(context)
    async with sampled(context), proxies_watched(context), asyncio.timeout(20):
        for _ in range(2):
            watch.examine(scope, 0)
            while watch._mismatch is not None:  # noqa: ASYNC110  # the task sets no event
                await asyncio.sleep(0.01)
        assert len(samples) > 1
    await context.close()


def test_an_unknown_lag_of_one_process_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    for process, lag in enumerate((None, 2.5, None)):
        keep_values_in_files(process)
        set_replica_lag(Metrics(), lag)
    assert registry_of(tmp_path).get_sample_value("trellis_replica_lag_seconds") == 2.5


async def test_mails_by_outcome(observed: Context) -> None:
    message = Message(to="a@b.example", subject="s", text="t", html="h", id="one")
    await deliver(observed, SYSTEM, message)
    assert value(observed, "trellis_mails_total", outcome="sent") == 1


async def test_dead_jobs_are_counted_without_those_that_wait(observed: Context) -> None:
    async with observed.database.transaction() as session:
        connection = await session.connection()
        for status, count in (("todo", 2000), ("failed", 2)):
            insert = text(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, status) SELECT 'default',"
                " 'made.known', CAST(:status AS procrastinate_job_status)"
                " FROM generate_series(1, CAST(:count AS int))"
            )
            await connection.execute(insert, {"status": status, "count": count})
        await connection.execute(text("ANALYZE procrastinate_jobs"))
        plan = (await connection.execute(text(f"EXPLAIN {DEAD.sql}"))).scalars().all()
    assert "ix_jobs_failed" in "\n".join(plan)
    assert observed.metrics is not None
    await sample_dead(observed, observed.metrics, ["made.known"])
    assert value(observed, "trellis_jobs_dead", name="made.known") == 2


def test_the_metrics_of_dashboard_and_alerts_exist() -> None:
    families = [family.name for family in Metrics().registry.collect()]
    defined = {*families, *(f"{name}_total" for name in families)}
    for file in ("deploy/grafana/trellis.json", "deploy/prometheus/alerts.yml"):
        named = re.findall(r"trellis_\w+", (ROOT / file).read_text())
        used = {re.sub(r"_(count|sum|bucket)$", "", name) for name in named}
        assert len(used) > 10
        assert used <= defined


async def test_clients_of_services_are_counted(database_url: str) -> None:
    context = make_context(
        database_url,
        metrics=Metrics(),
        email_provider="resend",
        resend_api_key="re_key",
    )
    mail_service._provider(context)
    assert context.metrics is not None
    samples = [
        sample
        for family in context.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "trellis_service_circuit_open"
    ]
    assert {sample.labels["service"] for sample in samples} == {"resend"}
    await context.close()


async def test_the_queue_by_declared_names(observed: Context) -> None:
    async def never(_: Context) -> None: ...

    async with observed.database.transaction() as session:
        for _ in range(3):
            await enqueue(session, Job("made.known", never))
        await enqueue(session, Job("made.unknown", never))
    assert observed.metrics is not None
    await sample_queue(observed, observed.metrics, ["made.known", "made.idle"])
    waiting = {
        name: value(observed, "trellis_jobs_waiting", name=name)
        for name in ("made.known", "made.idle", "other", "made.unknown")
    }
    assert waiting == {"made.known": 3, "made.idle": 0, "other": 1, "made.unknown": 0}
    assert 0 < value(observed, "trellis_jobs_oldest_age_seconds", name="made.known") < 60
    async with observed.database.transaction() as session:
        await (await session.connection()).execute(
            text("UPDATE procrastinate_jobs SET status = 'failed' WHERE task_name = 'made.known'")
        )
    await sample_dead(observed, observed.metrics, ["made.known", "made.idle"])
    assert value(observed, "trellis_jobs_dead", name="made.known") == 3
    assert value(observed, "trellis_jobs_dead") == 3
