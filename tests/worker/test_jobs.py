"""Jobs from enqueueing to their end, run by workers in the test's process."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from backend.core.context import Context
from backend.core.jobs import ORIGIN, Job, enqueue
from backend.core.module import Module
from backend.core.registry import RegistryError
from backend.db.errors import DatabaseUnavailableError
from backend.worker.job_execution import LONGEST_PAUSE, UNKNOWN, WorkerConfig, backoff_delay
from backend.worker.supervisor import CONCURRENCY, work
from tests.actors import Actor
from tests.applications import make_context
from tests.worker_harness import (
    FAST_CONFIG,
    Log,
    RecordedRuns,
    WorkerHarness,
    events_named,
    was_logged,
)

SECRET = "hunter2"


@pytest.fixture
def harness(database_url: str) -> WorkerHarness:
    return WorkerHarness(database_url)


@pytest.fixture
def own_harness(own_database_url: str) -> WorkerHarness:
    """A harness with its own database, for tests that change its schema or end connections."""
    return WorkerHarness(own_database_url)


@pytest.fixture
def log() -> Iterator[Log]:
    """Events logged during the test, with the values that the job has bound."""
    with capture_logs(processors=[merge_contextvars]) as captured:
        yield captured


async def test_runs_what_is_committed_and_nothing_else(harness: WorkerHarness, log: Log) -> None:
    runs = RecordedRuns()
    job = Job("made.job", runs)
    context = make_context(harness.url, ())

    async def change_ones_mind() -> None:
        async with context.database.transaction() as session:
            await enqueue(session, job, number=1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await change_ones_mind()
    async with harness.worker(job):
        async with context.database.transaction() as session:
            await enqueue(session, job, number=2, word="Milk")
            await enqueue(session, job, run_at=datetime.now(UTC) + timedelta(hours=1))
            await asyncio.sleep(3 * FAST_CONFIG.poll)
            assert runs.arguments == []
        await runs.wait_for_runs(1)
        await harness.wait_until(lambda: is_so(harness, 1))
    await context.database.close()
    assert runs.arguments == [{"number": 2, "word": "Milk"}]
    # Finished jobs are deleted; jobs scheduled for later stay.
    (left,) = await harness.jobs()
    assert (left["status"], left["attempts"]) == ("todo", 0)
    (done,) = events_named(log, "job_done")
    assert (done["job"], done["attempt"], done["log_level"]) == ("made.job", 1, "info")
    assert done["duration_ms"] >= 0
    assert done["job_id"] != left["id"]


async def is_so(harness: WorkerHarness, count: int) -> bool:
    return len(await harness.jobs()) == count


async def test_hears_of_a_new_job_at_once(harness: WorkerHarness) -> None:
    runs = RecordedRuns()
    job = Job("made.job", runs)
    listens = (
        "SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE 'LISTEN%%'"
    )
    async with harness.worker(job, config=WorkerConfig(poll=1000)):
        await harness.wait_until(lambda: harness.execute(listens))
        await harness.enqueue(job)
        await runs.wait_for_runs(1)


async def test_an_outage_is_not_the_jobs_fault(harness: WorkerHarness, log: Log) -> None:
    runs = RecordedRuns([DatabaseUnavailableError()] * 9 + [OSError()])
    job = Job("made.job", runs, attempts=1)
    async with harness.worker(job, config=replace(FAST_CONFIG, first_pause=0)):
        await harness.enqueue(job)
        await harness.wait_until(lambda: was_logged(log, "job_dead"))
    assert [each["error"] for each in events_named(log, "job_failed")] == [
        "DatabaseUnavailableError"
    ] * 9
    assert events_named(log, "job_dead")[0]["error"] == "OSError"


async def test_does_several_jobs_at_a_time(harness: WorkerHarness) -> None:
    everybody = asyncio.Barrier(10)

    async def meet(_: Context) -> None:
        await everybody.wait()

    job = Job("made.meet", meet)
    async with harness.worker(job):
        for _ in range(10):
            await harness.enqueue(job)
        await harness.wait_until_empty()


async def test_tries_again_later_and_later(harness: WorkerHarness, log: Log) -> None:
    runs = RecordedRuns([OSError(), OSError(), OSError()])
    job = Job("made.job", runs)
    async with harness.worker(job):
        await harness.enqueue(job)
        await harness.wait_until_empty()
    assert len(runs.arguments) == 4
    failed = events_named(log, "job_failed")
    assert [each["attempt"] for each in failed] == [1, 2, 3]
    assert [each["retry_in"] for each in failed] == pytest.approx([0.01, 0.03, 0.09])
    assert {each["log_level"] for each in failed} == {"warning"}
    assert [each["attempt"] for each in events_named(log, "job_done")] == [4]
    assert len(log) == len(["worker_started", *failed, "job_done", "worker_stopped"])


async def test_waits_before_it_tries_again(harness: WorkerHarness) -> None:
    runs = RecordedRuns([OSError()])
    job = Job("made.job", runs)

    async def is_put_off() -> bool:
        (waiting,) = await harness.jobs()
        return bool(waiting["attempts"])

    before = datetime.now(UTC)
    async with harness.worker(job, config=WorkerConfig(poll=0.05, first_pause=100, patience=0.1)):
        await harness.enqueue(job)
        await harness.wait_until(is_put_off)
        await asyncio.sleep(0.2)
    (waiting,) = await harness.jobs()
    assert waiting["status"] == "todo"
    assert timedelta(seconds=100) <= waiting["scheduled_at"] - before < timedelta(seconds=120)
    assert len(runs.arguments) == 1


def test_pauses_grow_from_seconds_to_hours() -> None:
    first = WorkerConfig().first_pause
    pauses = [backoff_delay(attempt, first) for attempt in range(1, 10)]
    assert pauses[:3] == [5, 15, 45]
    assert pauses == sorted(pauses)
    assert max(pauses) == LONGEST_PAUSE == backoff_delay(1000, first) == 3 * 3600


async def test_dead_jobs_are_seen_and_retried_over_http(
    harness: WorkerHarness, admin: Actor, log: Log
) -> None:
    runs = RecordedRuns([OSError(), OSError()])
    job = Job("made.job", runs, attempts=2)

    async def is_dead() -> bool:
        return bool(
            await harness.execute("SELECT 1 FROM procrastinate_jobs WHERE status = 'failed'")
        )

    async with harness.worker(job):
        await harness.enqueue(job, word="Milk")
        await harness.wait_until(is_dead)
        (dead,) = events_named(log, "job_dead")
        assert (dead["attempt"], dead["log_level"], dead["error"]) == (2, "error", "OSError")
        (seen,) = (await admin.get("/api/v1/jobs?status=failed")).json()["data"]
        assert (seen["name"], seen["attempts"], seen["error"]) == ("made.job", 2, "OSError")
        assert (await admin.post(f"/api/v1/jobs/{seen['id']}/retry")).status_code == 200
        await harness.wait_until_empty()
    assert runs.arguments == [{"word": "Milk"}] * 3


async def test_a_job_that_takes_too_long_has_failed(harness: WorkerHarness, log: Log) -> None:
    async def sleep(_: Context) -> None:
        await asyncio.Event().wait()

    job = Job("made.sleep", sleep, attempts=1, timeout=0.05)
    async with harness.worker(job):
        await harness.enqueue(job)
        await harness.wait_until(lambda: was_logged(log, "job_dead"))
    assert events_named(log, "job_dead")[0]["error"] == "TimeoutError"


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (asyncio.CancelledError(), "JobCancelledItselfError"),
        (SystemExit(1), "SystemExit"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
    ids=["cancelled", "exit", "interrupt"],
)
async def test_a_job_cannot_end_its_worker(
    harness: WorkerHarness, log: Log, error: BaseException, name: str
) -> None:
    runs = RecordedRuns([error])
    job = Job("made.job", runs)
    async with harness.worker(job):
        await harness.enqueue(job)
        await harness.wait_until_empty()
    assert events_named(log, "job_failed")[0]["error"] == name
    assert len(events_named(log, "worker_started")) == 1


async def test_wrong_arguments_are_a_failure_like_any_other(
    harness: WorkerHarness, log: Log
) -> None:
    async def only(_: Context, *, number: int) -> None:
        raise AssertionError(number)

    job = Job("made.only", only, attempts=1)
    async with harness.worker(job):
        await harness.enqueue(job, word="Milk")
        await harness.wait_until(lambda: was_logged(log, "job_dead"))
    assert events_named(log, "job_dead")[0]["error"] == "TypeError"


async def test_what_an_error_says_is_not_logged_in_production(
    harness: WorkerHarness, log: Log
) -> None:
    async def leak(_: Context, *, word: str) -> None:
        try:
            raise ValueError(f"the password is {word}")
        except ValueError as error:
            raise OSError(word) from error

    job = Job("made.leak", leak, attempts=2)
    async with harness.worker(job, environment="production"):
        await harness.enqueue(job, word=SECRET)
        await harness.wait_until(lambda: was_logged(log, "job_dead"))
    for failure in (*events_named(log, "job_failed"), *events_named(log, "job_dead")):
        assert failure["error"] == "OSError"
        # Both tracebacks and the type of the cause are logged, without messages.
        assert failure["exception"].count(" in leak\n") == 2
        assert "ValueError\n\n" in failure["exception"]
    assert SECRET not in str(log)


async def test_a_job_of_another_release_is_kept_for_it(harness: WorkerHarness, log: Log) -> None:
    strange = Job("made.strange", RecordedRuns())

    async def is_put_off() -> bool:
        (job,) = await harness.jobs()
        return job["scheduled_at"] is not None and job["status"] == "todo"

    await harness.enqueue(strange, word="Milk")
    async with harness.worker():
        for _ in range(2):
            await harness.execute("UPDATE procrastinate_jobs SET scheduled_at = NULL")
            await harness.wait_until(is_put_off)
    (kept,) = await harness.jobs()
    assert (kept["attempts"], kept["args"]["word"]) == (0, "Milk")
    assert kept["args"][ORIGIN] == {"error": UNKNOWN}
    soon = kept["scheduled_at"] - datetime.now(UTC)
    assert timedelta(seconds=20) < soon < timedelta(seconds=31)
    assert [each["job"] for each in events_named(log, "job_unknown")] == ["made.strange"]
    # The older the job, the longer the pause until it is fetched again.
    await harness.execute("UPDATE procrastinate_events SET at = at - interval '1 day'")
    await harness.execute("UPDATE procrastinate_jobs SET scheduled_at = NULL")
    async with harness.worker():
        await harness.wait_until(is_put_off)
    (kept,) = await harness.jobs()
    assert kept["scheduled_at"] - datetime.now(UTC) > timedelta(hours=5)
    runs = RecordedRuns()
    await harness.execute("UPDATE procrastinate_jobs SET scheduled_at = NULL")
    async with harness.worker(Job("made.strange", runs)):
        await harness.wait_until_empty()
    assert runs.arguments == [{"word": "Milk"}]


async def test_a_job_that_no_release_knows_is_dead_after_three_days(
    harness: WorkerHarness, admin: Actor, log: Log
) -> None:
    await harness.enqueue(Job("made.strange", RecordedRuns()), word="Milk")
    await harness.execute("UPDATE procrastinate_events SET at = at - interval '4 days'")
    async with harness.worker():
        await harness.wait_until(lambda: was_logged(log, "job_dead"))
    (dead,) = (await admin.get("/api/v1/jobs?status=failed")).json()["data"]
    assert (dead["arguments"], dead["error"]) == ({"word": "Milk"}, UNKNOWN)
    # A release that has it runs it, once an administrator retries it.
    runs = RecordedRuns()
    async with harness.worker(Job("made.strange", runs)):
        assert (await admin.post(f"/api/v1/jobs/{dead['id']}/retry")).status_code == 200
        await harness.wait_until_empty()
    assert runs.arguments == [{"word": "Milk"}]


async def test_what_the_clock_starts_runs_once_however_many_workers(
    harness: WorkerHarness, log: Log
) -> None:
    runs, other = RecordedRuns(), RecordedRuns()
    hour = (datetime.now(UTC) - timedelta(hours=1)).hour
    # Due three days ago, too long ago to catch up, and next month.
    never = f"0 {hour} {(datetime.now(UTC) - timedelta(days=3)).day} * *"
    jobs = (
        Job("made.daily", runs, cron=f"0 {hour} * * *"),
        Job("made.other", other, cron=never),
    )
    async with harness.worker(*jobs), harness.worker(*jobs):
        await runs.wait_for_runs(1)
        await harness.wait_until_empty()
    # A worker that starts later does not run the job again.
    async with harness.worker(*jobs):
        await harness.enqueue(jobs[1])
        await other.wait_for_runs(1)
    assert runs.arguments == [{}]
    # Scheduled runs are logged at debug level, because they would fill the log.
    done = [(each["job"], each["log_level"]) for each in events_named(log, "job_done")]
    assert done == [("made.daily", "debug"), ("made.other", "info")]


async def test_what_the_clock_starts_runs_again_and_again(harness: WorkerHarness) -> None:
    runs = RecordedRuns()
    async with harness.worker(Job("made.second", runs, cron="* * * * * *")):
        await runs.wait_for_runs(2)
    assert runs.arguments[:2] == [{}, {}]


@pytest.mark.slow
async def test_the_clock_has_slots_of_its_own(harness: WorkerHarness) -> None:
    hang, runs = Job("made.hang", forever), RecordedRuns()
    async with harness.worker(hang, Job("made.second", runs, cron="* * * * * *")):
        for _ in range(CONCURRENCY + 5):
            await harness.enqueue(hang)
        await harness.wait_until(lambda: run(harness, CONCURRENCY))
        before = len(runs.arguments)
        await runs.wait_for_runs(before + 2)
        assert await run(harness, CONCURRENCY)


async def forever(_: Context) -> None:
    await asyncio.Event().wait()


async def run(harness: WorkerHarness, count: int) -> bool:
    query = "SELECT 1 FROM procrastinate_jobs WHERE status = 'doing' AND task_name = 'made.hang'"
    return len(await harness.execute(query)) == count


async def test_what_an_older_release_left_for_the_clock_is_run(harness: WorkerHarness) -> None:
    runs = RecordedRuns()
    # The older release used the common queue; the job is not due again this month.
    day = (datetime.now(UTC) - timedelta(days=3)).day
    job = Job("made.monthly", runs, cron=f"0 3 {day} * *")
    async with harness.worker(job):
        await harness.enqueue(job, timestamp=1)
        await harness.wait_until_empty()
    assert runs.arguments == [{}]


@pytest.mark.slow
async def test_what_fails_by_the_clock_leaves_one_failure(harness: WorkerHarness, log: Log) -> None:
    async def fail(_: Context) -> None:
        raise ZeroDivisionError

    async def retry(_: Context) -> None:
        raise DatabaseUnavailableError

    jobs = (
        Job("made.fail", fail, attempts=1, cron="* * * * * *"),
        Job("made.retry", retry, attempts=1, cron="* * * * * *"),
    )
    async with harness.worker(*jobs, config=replace(FAST_CONFIG, first_pause=1000)):
        await harness.wait_until(lambda: at_least(log, "job_dead", 3))
        await harness.wait_until(lambda: at_least(log, "job_failed", 3))
    left = [(each["task_name"], each["status"]) for each in await harness.jobs()]
    assert sorted(set(left)) == sorted(left)
    assert set(left) <= {("made.fail", "failed"), ("made.retry", "todo")}


async def at_least(log: Log, event: str, count: int) -> bool:
    return len(events_named(log, event)) >= count


@pytest.mark.slow
async def test_times_that_were_slept_through_are_made_up_for_once(harness: WorkerHarness) -> None:
    slept = 8
    begun: list[float] = []

    async def run(_: Context) -> None:
        begun.append(time.monotonic())
        if len(begun) == 2:
            # Suspends the whole process, as when its machine sleeps.
            time.sleep(slept)  # noqa: ASYNC251  # see above

    async def is_awake() -> bool:
        return len(begun) >= 4

    async def enqueued() -> int:
        (row,) = await harness.execute("SELECT last_value FROM procrastinate_jobs_id_seq")
        return int(row["last_value"])

    before, started = await enqueued(), time.monotonic()
    # With a shorter limit it would find the database unavailable when it wakes, and restart.
    patient = replace(FAST_CONFIG, answer=1000)
    async with harness.worker(Job("made.second", run, cron="* * * * * *"), config=patient):
        await harness.wait_until(is_awake)
    awake = time.monotonic() - started - slept
    # One per second, one for the second of the start, and one for all missed times.
    assert await enqueued() - before <= awake + 4 < awake + slept


async def test_a_time_that_is_none_is_told() -> None:
    job = Job("made.job", RecordedRuns(), cron="tomorrow")
    context = make_context("postgresql://nowhere", ())
    with pytest.raises(RegistryError, match=r"Module 'made', job 'made.job': 'tomorrow' is no"):
        await work(context, (Module(name="made", jobs=(job,)),), asyncio.Event())
    await context.database.close()


async def test_modules_hold_their_resources_meanwhile(harness: WorkerHarness) -> None:
    held: list[str] = []

    @asynccontextmanager
    async def hold(_: Context) -> AsyncIterator[None]:
        held.append("begun")
        yield
        held.append("ended")

    async def check(_: Context) -> None:
        assert held == ["begun"]
        stopping.set()

    stopping = asyncio.Event()
    job = Job("made.check", check)
    await harness.enqueue(job)
    module = Module(name="made", lifespan=hold, jobs=(job,))
    async with asyncio.timeout(20):
        await work(make_context(harness.url, ()), (module,), stopping)
    assert held == ["begun", "ended"]
    assert await harness.jobs() == []


async def test_an_outcome_that_is_refused_does_not_leave_the_job_running(
    own_harness: WorkerHarness, log: Log
) -> None:
    """A job that stays marked as running by a living worker is never taken by another."""
    refuse = """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE 'not today'; END $$;
        CREATE TRIGGER refuse BEFORE DELETE ON procrastinate_jobs EXECUTE FUNCTION refuse();
    """

    async def run(_: Context) -> None:
        runs.arguments.append({})
        first = len(runs.arguments) == 1
        await own_harness.execute(refuse if first else "DROP TRIGGER refuse ON procrastinate_jobs")

    runs = RecordedRuns()
    job = Job("made.job", run)
    async with own_harness.worker(job):
        await own_harness.enqueue(job)
        await own_harness.wait_until_empty()
    assert len(runs.arguments) == 2
    assert len(events_named(log, "worker_started")) == 2
    assert events_named(log, "worker_failed")[0]["error"] == "ConnectorException"
    assert await own_harness.execute("SELECT 1 FROM procrastinate_workers") == []


@pytest.mark.slow
async def test_lost_connections_are_replaced(own_harness: WorkerHarness) -> None:
    runs = RecordedRuns()
    job = Job("made.job", runs)
    async with own_harness.worker(job) as ready:
        for count in range(1, 4):
            await own_harness.enqueue(job)
            await runs.wait_for_runs(count)
            ready.clear()
            await own_harness.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        await own_harness.enqueue(job)
        await runs.wait_for_runs(4)
        await own_harness.wait_until_empty()


@pytest.mark.slow
async def test_a_worker_that_was_taken_for_dead_begins_anew(
    harness: WorkerHarness, log: Log
) -> None:
    runs = RecordedRuns()
    job = Job("made.job", runs)
    async with harness.worker(job) as ready:
        ready.clear()
        forget = "DELETE FROM procrastinate_workers RETURNING id"
        await harness.wait_until(lambda: harness.execute(forget))
        async with asyncio.timeout(20):
            await ready.wait()
        await harness.enqueue(job)
        await harness.wait_until_empty()
    (event,) = events_named(log, "worker_waits")
    assert "restarts" in event["reason"]
    assert len(runs.arguments) == 1
