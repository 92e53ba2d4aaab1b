"""A database outage never makes two workers run the same job at the same time."""

import asyncio

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from backend.core.context import Context
from backend.core.jobs import Job
from backend.worker.job_execution import WorkerConfig
from backend.worker.job_queue import REQUEUE_LOCK
from tests.databases import proxy
from tests.worker_harness import (
    FAST_CONFIG,
    Log,
    RecordedRuns,
    WorkerHarness,
    events_named,
    was_logged,
)


@pytest.fixture
def own_harness(own_database_url: str) -> WorkerHarness:
    return WorkerHarness(own_database_url)


def test_a_worker_lets_go_before_others_take_over() -> None:
    """The response to the last heartbeat may be late, and that to the next may be missing."""
    config = WorkerConfig()
    assert config.answer + config.heartbeat + config.answer + config.patience < config.dead_after
    # docs/modules.md: within a minute.
    assert config.dead_after + config.heartbeat + config.first_pause < 60


@pytest.mark.slow
async def test_a_worker_that_gets_no_answers_lets_go_of_its_jobs(
    own_harness: WorkerHarness, log: Log
) -> None:
    story: list[tuple[str, str]] = []
    begun = asyncio.Event()

    def job(who: str) -> Job:
        async def run(_: Context) -> None:
            story.append((who, "begins"))
            begun.set()
            try:
                await asyncio.sleep(0 if who == "other" else 1000)
            except asyncio.CancelledError:
                story.append((who, "stops"))
                raise

        return Job("made.job", run)

    config = WorkerConfig(
        heartbeat=0.5, answer=0.7, dead_after=5, poll=0.2, patience=0.5, first_pause=0.1
    )
    flows = asyncio.Event()
    flows.set()
    async with (
        proxy(own_harness.url, flows) as url,
        WorkerHarness(url).worker(job("stalled"), config=config) as ready,
    ):
        await own_harness.enqueue(job("stalled"))
        await asyncio.wait_for(begun.wait(), 20)
        flows.clear()
        async with own_harness.worker(job("other"), config=config):
            await own_harness.wait_until_empty()
        assert story == [("stalled", "begins"), ("stalled", "stops"), ("other", "begins")]
        ready.clear()
        flows.set()
        await asyncio.wait_for(ready.wait(), 20)
    assert [each["reason"][:12] for each in events_named(log, "worker_waits")] == ["The database"]


@pytest.mark.parametrize("noticed", [False, True])
@pytest.mark.slow
async def test_a_worker_that_gets_no_answers_can_be_stopped(
    own_harness: WorkerHarness, log: Log, noticed: bool
) -> None:
    flows = asyncio.Event()
    flows.set()
    config = WorkerConfig(heartbeat=0.2 if noticed else 1000, answer=0.5, patience=0.1)
    runs = RecordedRuns()
    async with proxy(own_harness.url, flows) as url:
        # The block waits at most half a minute for the worker to end.
        async with WorkerHarness(url).worker(Job("made.job", runs), config=config):
            await own_harness.enqueue(Job("made.job", runs))
            await runs.wait_for_runs(1)
            flows.clear()
            if noticed:
                await own_harness.wait_until(lambda: was_logged(log, "worker_waits"))
                await asyncio.sleep(1.5)
        flows.set()


@pytest.mark.slow
async def test_what_was_done_when_the_database_went_is_not_done_again(
    own_harness: WorkerHarness, log: Log
) -> None:
    runs = RecordedRuns()
    name = conninfo_to_dict(own_harness.url)["dbname"]
    server = WorkerHarness(make_conninfo(own_harness.url, dbname="postgres"))

    async def run(_: Context) -> None:
        runs.arguments.append({})
        if len(runs.arguments) > 1:
            return
        await server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name
        )

    job = Job("made.job", run)
    async with own_harness.worker(job) as ready:
        ready.clear()
        await own_harness.enqueue(job)
        await own_harness.wait_until(lambda: was_logged(log, "worker_waits"))
        await server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await asyncio.wait_for(ready.wait(), 20)
        await own_harness.wait_until_empty()
    assert len(runs.arguments) == 1
    assert events_named(log, "job_abandoned") == []
    assert await own_harness.execute("SELECT 1 FROM procrastinate_workers") == []


async def test_the_outcome_of_a_job_that_others_run_by_now_does_not_count(
    own_harness: WorkerHarness, log: Log
) -> None:
    take = """
        WITH other AS (INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id)
        UPDATE procrastinate_jobs SET worker_id = other.id FROM other
    """

    async def run(_: Context) -> None:
        await own_harness.execute(take)

    job = Job("made.job", run)
    async with own_harness.worker(job):
        await own_harness.enqueue(job)
        await own_harness.wait_until(lambda: was_logged(log, "job_was_taken"))
    (left,) = await own_harness.jobs()
    assert left["status"] == "doing"


async def test_one_at_a_time_takes_care_of_what_the_dead_have_left(
    own_harness: WorkerHarness,
) -> None:
    """Two workers would deadlock: they lock rows of jobs, then rows of workers."""
    runs = RecordedRuns()
    job = Job("made.job", runs)
    async with await psycopg.AsyncConnection.connect(own_harness.url, autocommit=True) as another:
        await another.execute("SELECT pg_advisory_lock(%s)", [REQUEUE_LOCK])
        await own_harness.enqueue(job)
        await own_harness.execute("UPDATE procrastinate_jobs SET status = 'doing'")
        async with own_harness.worker(job, config=FAST_CONFIG):
            await asyncio.sleep(5 * FAST_CONFIG.heartbeat)
            assert runs.arguments == []
            await another.execute("SELECT pg_advisory_unlock(%s)", [REQUEUE_LOCK])
            await own_harness.wait_until_empty()
    assert len(runs.arguments) == 1
