"""A database that goes, or does not answer, makes nobody run twice what others run."""

import asyncio

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from backend.core.attempts import Pace
from backend.core.context import Context
from backend.core.job_queue import RESCUE_LOCK
from backend.core.jobs import Job
from tests.databases import proxy
from tests.house import FAST, House, Log, Runs, named, said


@pytest.fixture
def own_house(own_database_url: str) -> House:
    return House(own_database_url)


def test_a_worker_lets_go_before_others_take_over() -> None:
    """The last sign of life may have been answered late, and the next not at all."""
    pace = Pace()
    assert pace.answer + pace.heartbeat + pace.answer + pace.patience < pace.dead_after
    # README: within a minute.
    assert pace.dead_after + pace.heartbeat + pace.first_pause < 60


@pytest.mark.slow
async def test_a_worker_that_gets_no_answers_lets_go_of_its_jobs(
    own_house: House, log: Log
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

    pace = Pace(heartbeat=0.5, answer=0.7, dead_after=5, poll=0.2, patience=0.5, first_pause=0.1)
    flows = asyncio.Event()
    flows.set()
    async with (
        proxy(own_house.url, flows) as url,
        House(url).worker(job("stalled"), pace=pace) as ready,
    ):
        await own_house.later(job("stalled"))
        await asyncio.wait_for(begun.wait(), 20)
        flows.clear()
        async with own_house.worker(job("other"), pace=pace):
            await own_house.finish()
        assert story == [("stalled", "begins"), ("stalled", "stops"), ("other", "begins")]
        ready.clear()
        flows.set()
        await asyncio.wait_for(ready.wait(), 20)
    assert [each["reason"][:12] for each in named(log, "worker_waits")] == ["The database"]


@pytest.mark.parametrize("noticed", [False, True])
@pytest.mark.slow
async def test_a_worker_that_gets_no_answers_can_be_stopped(
    own_house: House, log: Log, noticed: bool
) -> None:
    flows = asyncio.Event()
    flows.set()
    pace = Pace(heartbeat=0.2 if noticed else 1000, answer=0.5, patience=0.1)
    runs = Runs()
    async with proxy(own_house.url, flows) as url:
        # The block waits for its end, and no longer than half a minute.
        async with House(url).worker(Job("made.job", runs), pace=pace):
            await own_house.later(Job("made.job", runs))
            await runs.reach(1)
            flows.clear()
            if noticed:
                await own_house.become(lambda: said(log, "worker_waits"))
                await asyncio.sleep(1.5)
        flows.set()


@pytest.mark.slow
async def test_what_was_done_when_the_database_went_is_not_done_again(
    own_house: House, log: Log
) -> None:
    runs = Runs()
    name = conninfo_to_dict(own_house.url)["dbname"]
    server = House(make_conninfo(own_house.url, dbname="postgres"))

    async def run(_: Context) -> None:
        runs.arguments.append({})
        if len(runs.arguments) > 1:
            return
        await server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name
        )

    job = Job("made.job", run)
    async with own_house.worker(job) as ready:
        ready.clear()
        await own_house.later(job)
        await own_house.become(lambda: said(log, "worker_waits"))
        await server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await asyncio.wait_for(ready.wait(), 20)
        await own_house.finish()
    assert len(runs.arguments) == 1
    assert named(log, "job_abandoned") == []
    assert await own_house.execute("SELECT 1 FROM procrastinate_workers") == []


async def test_the_outcome_of_a_job_that_others_run_by_now_does_not_count(
    own_house: House, log: Log
) -> None:
    take = """
        WITH other AS (INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id)
        UPDATE procrastinate_jobs SET worker_id = other.id FROM other
    """

    async def run(_: Context) -> None:
        await own_house.execute(take)

    job = Job("made.job", run)
    async with own_house.worker(job):
        await own_house.later(job)
        await own_house.become(lambda: said(log, "job_was_taken"))
    (left,) = await own_house.jobs()
    assert left["status"] == "doing"


async def test_one_at_a_time_takes_care_of_what_the_dead_have_left(own_house: House) -> None:
    """Two would wait for each other: they lock rows of jobs, then those of workers."""
    runs = Runs()
    job = Job("made.job", runs)
    async with await psycopg.AsyncConnection.connect(own_house.url, autocommit=True) as another:
        await another.execute("SELECT pg_advisory_lock(%s)", [RESCUE_LOCK])
        await own_house.later(job)
        await own_house.execute("UPDATE procrastinate_jobs SET status = 'doing'")
        async with own_house.worker(job, pace=FAST):
            await asyncio.sleep(5 * FAST.heartbeat)
            assert runs.arguments == []
            await another.execute("SELECT pg_advisory_unlock(%s)", [RESCUE_LOCK])
            await own_house.finish()
    assert len(runs.arguments) == 1
