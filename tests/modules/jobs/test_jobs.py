"""Operators list jobs, and retry or delete failed ones."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from backend.core.context import Context
from backend.core.jobs import Job, enqueue
from backend.core.module import Module
from backend.modules.jobs.jobs import CLEAN
from tests.actors import Actor, Client
from tests.jobs import run_jobs
from tests.pages import walk

JOBS = "/api/v1/jobs"


class Once(Exception):
    """The error that a failing job raises."""


async def refuse(_: Context, **__: Any) -> None:
    raise Once


REFUSES = Job("made.refuses", refuse, attempts=1)
WAITS = Job("made.waits", refuse)
MADE = (Module(name="made", jobs=(REFUSES, WAITS)),)
Enqueue = Callable[..., Awaitable[None]]


@pytest.fixture
def later(context: Context) -> Enqueue:
    async def later(job: Job, **values: Any) -> None:
        async with context.database.transaction() as session:
            await enqueue(session, job, **values)

    return later


async def execute(context: Context, statement: str, **values: Any) -> None:
    async with context.database.transaction() as session:
        await (await session.connection()).execute(text(statement), values)


async def listed(admin: Actor, query: str = "") -> list[dict[str, Any]]:
    answer = await admin.get(f"{JOBS}{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


@pytest.fixture
async def dead(context: Context, later: Enqueue, admin: Actor) -> dict[str, Any]:
    """A job that has failed permanently."""
    await later(REFUSES, user="ada")
    with pytest.raises(Once):
        await run_jobs(context, MADE)
    (job,) = await listed(admin, "?status=failed")
    return job


async def test_a_waiting_job_is_shown(admin: Actor, later: Enqueue) -> None:
    before = datetime.now(UTC)
    run_at = before + timedelta(hours=1)
    await later(WAITS, run_at=run_at, item=7, name="Milk")
    (job,) = await listed(admin)
    assert job == {
        "id": job["id"],
        "name": "made.waits",
        "status": "waiting",
        "attempts": 0,
        "arguments": {"item": 7, "name": "Milk"},
        "error": None,
        "request_id": None,
        "scheduled_at": run_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "created_at": job["created_at"],
    }
    assert abs(datetime.fromisoformat(job["created_at"]) - before) < timedelta(minutes=1)
    assert (await admin.get(f"{JOBS}/{job['id']}")).json() == job
    partial = await admin.get(f"{JOBS}/{job['id']}?fields=id,status")
    assert partial.json() == {"id": job["id"], "status": "waiting"}


async def test_the_newest_come_first(admin: Actor, later: Enqueue) -> None:
    for number in range(7):
        await later(WAITS, number=number)

    async def page_of(**parameters: Any) -> dict[str, Any]:
        page: dict[str, Any] = (await admin.get(JOBS, params=parameters)).json()
        return page

    rows = await walk(page_of, limit=3)
    assert [row["arguments"]["number"] for row in rows] == [6, 5, 4, 3, 2, 1, 0]
    oldest_first = await walk(page_of, limit=2, sort="attempts,created_at")
    assert oldest_first == rows[::-1]


async def test_filters(admin: Actor, later: Enqueue, dead: dict[str, Any]) -> None:
    await later(WAITS)
    assert [job["name"] for job in await listed(admin, "?status=waiting")] == ["made.waits"]
    assert await listed(admin, "?status=failed") == [dead]
    assert await listed(admin, "?status=running") == []
    assert await listed(admin, "?name=made.refuses") == [dead]
    assert await listed(admin, "?name=made.refuses&status=waiting") == []
    counted = await admin.get(f"{JOBS}?total=true&limit=1")
    assert counted.json()["total"] == 2
    for query in ("?status=dead", "?name=", f"?name={'x' * 129}", "?sort=name", "?colour=red"):
        assert (await admin.get(f"{JOBS}{query}")).status_code == 422
    assert (await admin.get(f"{JOBS}?name=%00")).status_code == 422


async def test_a_running_job_is_shown_as_such(
    admin: Actor, context: Context, later: Enqueue
) -> None:
    await later(WAITS)
    await execute(context, "SELECT procrastinate_fetch_job_v2(ARRAY['default'], NULL)")
    (job,) = await listed(admin, "?status=running")
    assert job["status"] == "running"
    refused = await admin.post(f"{JOBS}/{job['id']}/retry")
    assert (refused.status_code, refused.json()["error"]) == (409, "JOB_NOT_FAILED")


@pytest.mark.parametrize(
    "id", ["1", "0", "-1", "01", "+1", "1_0", "²", "1.0", "x", "9" * 18, "9" * 19, "9" * 40]
)
async def test_no_such_job(admin: Actor, id: str) -> None:
    for answer in (await admin.get(f"{JOBS}/{id}"), await admin.post(f"{JOBS}/{id}/retry")):
        assert answer.status_code == 404
        known = "JOB_NOT_FOUND" if id == "1" or id == "9" * 18 else "NOT_FOUND"
        assert answer.json()["error"] == known


async def test_a_failed_job_is_retried(
    admin: Actor, context: Context, dead: dict[str, Any]
) -> None:
    assert (dead["status"], dead["attempts"]) == ("failed", 1)
    seen: list[dict[str, Any]] = []

    async def accept(_: Context, **arguments: Any) -> None:
        seen.append(arguments)

    mended = (Module(name="made", jobs=(Job(REFUSES.name, accept, attempts=1),)),)
    await run_jobs(context, mended)
    assert seen == []
    answer = await admin.post(f"{JOBS}/{dead['id']}/retry")
    assert answer.status_code == 200
    assert answer.json() == {**dead, "status": "waiting", "attempts": 0, "scheduled_at": None}
    again = await admin.post(f"{JOBS}/{dead['id']}/retry")
    assert (again.status_code, again.json()["error"]) == (409, "JOB_NOT_FAILED")
    await run_jobs(context, mended)
    assert seen == [{"user": "ada"}]
    # Jobs that succeed are deleted.
    gone = await admin.get(f"{JOBS}/{dead['id']}")
    assert (gone.status_code, gone.json()["error"]) == (404, "JOB_NOT_FOUND")


async def test_only_with_permission(
    client: Client, ada: Actor, editor: Actor, dead: dict[str, Any]
) -> None:
    retry = f"{JOBS}/{dead['id']}/retry"
    for path in (JOBS, f"{JOBS}/{dead['id']}"):
        assert (await client.get(path)).status_code == 401
        assert (await ada.get(path)).status_code == 403
        assert (await editor.get(path)).status_code == 403
    assert (await client.post(retry)).status_code == 401
    assert (await editor.post(retry)).status_code == 403


async def test_the_failed_are_kept_for_thirty_days(
    admin: Actor, context: Context, later: Enqueue, dead: dict[str, Any]
) -> None:
    await later(WAITS)
    for days, kept in ((29, 2), (31, 1)):
        age = "UPDATE procrastinate_events SET at = now() - make_interval(days => :days)"
        await execute(context, age, days=days)
        await CLEAN.run(context)
        assert len(await listed(admin)) == kept
    (left,) = await listed(admin)
    assert left["name"] == WAITS.name != dead["name"]


async def test_ready_tells_whether_a_worker_lives(client: Client, context: Context) -> None:
    for seconds, status in ((61, "degraded"), (10, "ok")):
        await execute(context, "DELETE FROM procrastinate_workers")
        beat = "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - :age)"
        await execute(context, beat, age=timedelta(seconds=seconds))
        answer = await client.get("/health/ready")
        assert answer.status_code == 200
        assert answer.json()["checks"]["worker"]["status"] == status
        detail = answer.json()["checks"]["worker"]["detail"]
        assert (detail is None) == (status == "ok")
