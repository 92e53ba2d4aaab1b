"""Durable events: delivered after the commit, at least once, in order where it is declared."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog
from sqlalchemy import text
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from backend.core.context import Context
from backend.core.events import Event, durable, on, publish
from backend.core.jobs import ORIGIN
from backend.core.module import Module
from backend.core.stored_events import DurableSubscriber
from backend.modules.users.events import ProfileChanged
from backend.worker.job_execution import UNKNOWN, WorkerConfig
from tests.actors import Actor
from tests.applications import make_context
from tests.documents import code_blocks
from tests.worker_harness import FAST_CONFIG, Log, WorkerHarness, events_named, was_logged

WAITS = """
    SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@dataclass(frozen=True)
class Poured(Event):
    cup: int
    number: int = 0


@dataclass
class Recorder:
    """A handler that records its events and raises for those in `fails`."""

    fails: set[Poured] = field(default_factory=set)
    delivered: list[tuple[Poured, UUID]] = field(default_factory=list)

    async def __call__(self, _: Context, event: Poured, event_id: UUID) -> None:
        # Without an order, the next event overtakes an even one.
        await asyncio.sleep(0 if event.number % 2 else 0.1)
        self.delivered.append((event, event_id))
        if event in self.fails:
            raise OSError

    def of(self, cup: int) -> list[int]:
        """Return the numbers of this cup's events, in the order of their deliveries."""
        return [event.number for event, _ in self.delivered if event.cup == cup]


@pytest.fixture
def harness(database_url: str) -> WorkerHarness:
    return WorkerHarness(database_url)


@pytest.fixture
def log() -> Iterator[Log]:
    with capture_logs(processors=[merge_contextvars]) as captured:
        yield captured


@dataclass
class Teapot:
    """Two subscribers, of which `ordered` gets the events of each cup in order."""

    context: Context
    plain: Recorder
    ordered: Recorder
    subscribers: tuple[DurableSubscriber, ...]

    async def pour(self, *events: Poured) -> None:
        async with self.context.database.transaction() as session:
            for event in events:
                await publish(self.context, session, event)


@pytest.fixture
async def teapot(harness: WorkerHarness) -> AsyncIterator[Teapot]:
    plain, ordered = Recorder(), Recorder()
    subscribers = (
        durable(Poured, plain, name="made.plain"),
        durable(Poured, ordered, name="made.ordered", ordered_by="cup", attempts=2),
    )
    context = make_context(harness.url, (Module(name="made", subscribers=subscribers),))
    yield Teapot(context, plain, ordered, subscribers)
    await context.database.close()


async def test_each_subscriber_gets_the_committed_events_and_their_ids(
    teapot: Teapot, harness: WorkerHarness
) -> None:
    async def change_ones_mind() -> None:
        async with teapot.context.database.transaction() as session:
            await publish(teapot.context, session, Poured(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await change_ones_mind()
    # One of them fails at first, which is no concern of the other one.
    failing = Poured(2)
    teapot.plain.fails.add(failing)
    async with harness.worker(subscribers=teapot.subscribers):
        await teapot.pour(failing, Poured(3))
        await harness.wait_until(lambda: at_least(teapot.plain, 3))
        teapot.plain.fails.clear()
        await harness.wait_until_empty()
    assert {event for event, _ in teapot.plain.delivered} == {Poured(2), Poured(3)}
    # The id is that of the event: the same for each subscriber and in each attempt.
    assert set(teapot.plain.delivered) == set(teapot.ordered.delivered)
    assert len(teapot.ordered.delivered) == 2


async def at_least(recorder: Recorder, count: int) -> bool:
    return len(recorder.delivered) >= count


async def test_a_failing_event_stops_those_of_its_aggregate_alone(
    teapot: Teapot, harness: WorkerHarness
) -> None:
    failing = Poured(1, 1)
    teapot.ordered.fails.add(failing)
    slow = replace(FAST_CONFIG, first_pause=1000)
    async with harness.worker(subscribers=teapot.subscribers, config=slow):
        await teapot.pour(failing, Poured(1, 2), Poured(2, 1), Poured(1, 3), Poured(2, 2))
        await harness.wait_until(lambda: left(harness, 3))
        # Without an order, nothing waits for anything.
        assert sorted(teapot.plain.of(1)) == [1, 2, 3]
        assert (teapot.ordered.of(1), teapot.ordered.of(2)) == ([1], [1, 2])
        teapot.ordered.fails.clear()
        await harness.execute("UPDATE procrastinate_jobs SET scheduled_at = NULL")
        await harness.wait_until_empty()
    assert teapot.ordered.of(1) == [1, 1, 2, 3]


async def left(harness: WorkerHarness, count: int) -> bool:
    jobs = await harness.jobs()
    return len(jobs) == count and all(job["status"] == "todo" for job in jobs)


async def test_an_event_that_is_given_up_steps_aside_and_is_retried_late(
    teapot: Teapot, harness: WorkerHarness, admin: Actor, log: Log
) -> None:
    failing = Poured(1, 1)
    teapot.ordered.fails.add(failing)
    async with harness.worker(subscribers=teapot.subscribers):
        await teapot.pour(failing, Poured(1, 2))
        await harness.wait_until(lambda: at_least(teapot.ordered, 3))
        assert teapot.ordered.of(1) == [1, 1, 2]
        (entry,) = events_named(log, "job_dead")
        assert (entry["job"], entry["event_id"]) == (
            "made.ordered",
            str(teapot.ordered.delivered[0][1]),
        )
        (dead,) = (await admin.get("/api/v1/jobs?status=failed")).json()["data"]
        assert (dead["name"], dead["error"]) == ("made.ordered", "OSError")
        assert dead["arguments"] == {
            "event_id": entry["event_id"],
            "event": "worker.Poured",
            "data": {"cup": 1, "number": 1},
        }
        teapot.ordered.fails.clear()
        assert (await admin.post(f"/api/v1/jobs/{dead['id']}/retry")).status_code == 200
        await harness.wait_until_empty()
    assert teapot.ordered.of(1) == [1, 1, 2, 1]


async def test_two_workers_keep_the_order(teapot: Teapot, harness: WorkerHarness) -> None:
    cups, numbers = range(4), range(8)
    for number in numbers:
        await teapot.pour(*(Poured(cup, number) for cup in cups))
    async with (
        harness.worker(subscribers=teapot.subscribers),
        harness.worker(subscribers=teapot.subscribers),
    ):
        await harness.wait_until_empty()
    assert [teapot.ordered.of(cup) for cup in cups] == [list(numbers)] * len(cups)
    assert len(teapot.plain.delivered) == len(cups) * len(numbers)


async def test_the_next_event_is_delivered_at_once(teapot: Teapot, harness: WorkerHarness) -> None:
    """No notification tells that it may run now, and a poll would be seconds away."""
    events = [Poured(1, number) for number in (2, 4, 6)]
    teapot.ordered.fails.add(events[0])
    only = (replace(teapot.subscribers[1], attempts=1),)
    listen = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND query LIKE 'LISTEN%%' HAVING count(*) = 2"
    )
    async with harness.worker(subscribers=only, config=WorkerConfig(poll=1000)):
        await harness.wait_until(lambda: harness.execute(listen))
        await teapot.pour(*events)
        await harness.wait_until(lambda: at_least(teapot.ordered, 3))
    assert teapot.ordered.of(1) == [2, 4, 6]


async def test_the_order_is_that_of_the_commits(teapot: Teapot, harness: WorkerHarness) -> None:
    """Otherwise the second of two transactions could be delivered before the first."""
    async with teapot.context.database.transaction() as session:
        await publish(teapot.context, session, Poured(1, 1))
        # Another aggregate does not wait.
        await teapot.pour(Poured(2, 1))
        second = asyncio.create_task(teapot.pour(Poured(1, 2)))
        await harness.wait_until(lambda: harness.execute(WAITS))
        assert not second.done()
    await second
    jobs = [job for job in await harness.jobs() if job["lock"] == "made.ordered:1"]
    assert [job["args"]["data"]["number"] for job in jobs] == [1, 2]


async def test_a_retried_event_meets_a_later_one_that_is_just_being_fetched(
    teapot: Teapot, harness: WorkerHarness, log: Log
) -> None:
    """The database lets only one of them run; the worker goes on and runs the other later."""
    await teapot.pour(Poured(1, 1), Poured(1, 2))
    first, second = (job["id"] for job in await harness.jobs() if job["lock"])
    await harness.execute("DELETE FROM procrastinate_jobs WHERE lock IS NULL")
    take = "UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s WHERE id = %s"
    (row,) = await harness.execute("SELECT worker_id FROM procrastinate_register_worker_v1()")
    await harness.execute("UPDATE procrastinate_jobs SET status = 'failed' WHERE id = %s", first)
    async with teapot.context.database.transaction() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(take % (row["worker_id"], second))
        await harness.execute("UPDATE procrastinate_jobs SET status = 'todo' WHERE id = %s", first)
        worker = harness.worker(subscribers=teapot.subscribers)
        entering = asyncio.create_task(worker.__aenter__())
        await harness.wait_until(lambda: harness.execute(WAITS))
    await entering
    await harness.execute("DELETE FROM procrastinate_jobs WHERE id = %s", second)
    await harness.wait_until_empty()
    await worker.__aexit__(None, None, None)
    assert teapot.ordered.of(1) == [1]
    assert not await was_logged(log, "worker_failed")


async def test_logs_carry_the_ids_of_the_request_and_of_the_event(
    teapot: Teapot, harness: WorkerHarness, log: Log
) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        await teapot.pour(Poured(1))
    assert {job["args"][ORIGIN]["request_id"] for job in await harness.jobs()} == {"r-1"}
    async with harness.worker(subscribers=teapot.subscribers):
        await harness.wait_until_empty()
    done = events_named(log, "job_done")
    assert sorted(entry["job"] for entry in done) == ["made.ordered", "made.plain"]
    event_id = str(teapot.plain.delivered[0][1])
    assert {(entry["request_id"], entry["event_id"]) for entry in done} == {("r-1", event_id)}


async def test_an_event_that_this_release_cannot_read_says_why(
    teapot: Teapot, harness: WorkerHarness, admin: Actor
) -> None:
    await teapot.pour(Poured(1))
    await harness.execute(
        "UPDATE procrastinate_jobs SET args = jsonb_set(args, '{data}', '{\"cup\": \"blue\"}')"
        " WHERE lock IS NOT NULL"
    )

    async def is_dead() -> bool:
        return [job["status"] for job in await harness.jobs()] == ["failed"]

    async with harness.worker(subscribers=teapot.subscribers):
        await harness.wait_until(is_dead)
    (dead,) = (await admin.get("/api/v1/jobs?status=failed")).json()["data"]
    assert dead["error"] == (
        "This release cannot read the stored worker.Poured (cup: Input should be a valid integer, "
        "unable to parse string as an integer). Give new fields a default, and renamed ones an "
        "alias; then retry the job."
    )


async def test_deliveries_to_a_removed_module_are_listed(
    teapot: Teapot, harness: WorkerHarness, admin: Actor
) -> None:
    await teapot.pour(Poured(1, 1), Poured(1, 2))
    await harness.execute("UPDATE procrastinate_events SET at = at - interval '4 days'")

    async def are_dead() -> bool:
        return {job["status"] for job in await harness.jobs()} == {"failed"}

    async with harness.worker():
        await harness.wait_until(are_dead)
    listed = (await admin.get("/api/v1/jobs?status=failed&name=made.ordered")).json()["data"]
    assert [each["arguments"]["data"]["number"] for each in listed] == [2, 1]
    assert {each["error"] for each in listed} == {UNKNOWN}


async def test_a_repeated_delivery_has_no_second_effect(own_database_url: str) -> None:
    """With the handler of `docs/events.md`, whose worker ends before the job is completed."""
    (code,) = [block for block in code_blocks("events.md") if "count_change" in block]
    names: dict[str, Any] = {"text": text, "Context": Context, "ProfileChanged": ProfileChanged}
    names["UUID"] = UUID
    exec(code.replace("profile_changes", "made_profile_changes"), names)  # noqa: S102  # the code of the page
    calls: list[UUID] = []

    async def count(context: Context, event: ProfileChanged, event_id: UUID) -> None:
        await names["count_change"](context, event, event_id)
        calls.append(event_id)
        if len(calls) == 1:
            raise OSError

    harness = WorkerHarness(own_database_url)
    await harness.execute("CREATE TABLE made_profile_changes (event_id uuid UNIQUE, user_id uuid)")
    subscribers = (durable(ProfileChanged, count, name="made.count"),)
    context = make_context(harness.url, (Module(name="made", subscribers=subscribers),))
    event = ProfileChanged(uuid4())
    async with context.database.transaction() as session:
        await publish(context, session, event)
    async with harness.worker(subscribers=subscribers):
        await harness.wait_until_empty()
    await context.database.close()
    assert calls == [calls[0]] * 2
    assert await harness.execute("SELECT * FROM made_profile_changes") == [
        {"event_id": calls[0], "user_id": event.user_id}
    ]


async def test_handlers_in_the_transaction_come_first(harness: WorkerHarness) -> None:
    """If one of them refuses the change, there is nothing to deliver."""

    async def refuse(_: Context, __: Any, event: Poured) -> None:
        raise ZeroDivisionError

    subscribers = (durable(Poured, Recorder(), name="made.late"), on(Poured, refuse))
    context = make_context(harness.url, (Module(name="made", subscribers=subscribers),))

    async def pour() -> None:
        async with context.database.transaction() as session:
            await publish(context, session, Poured(1))

    with pytest.raises(ZeroDivisionError):
        await pour()
    await context.database.close()
    assert await harness.jobs() == []
