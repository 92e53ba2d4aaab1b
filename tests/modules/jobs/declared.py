"""Declarations of this module for the tests of all modules; see tests/declared.py."""

from sqlalchemy import text

from backend.core.context import Context
from backend.core.jobs import Job, enqueue
from tests.actors import Actor
from tests.declared import API, Case, Change, Resource, Rule, with_values


async def refuse(_: Context) -> None: ...


async def failed_job(context: Context, admin: Actor) -> str:
    async with context.database.transaction() as session:
        await enqueue(session, Job("made.refuses", refuse))
        await (await session.connection()).execute(
            text("UPDATE procrastinate_jobs SET status = 'failed'")
        )
    (job,) = (await admin.get(f"{API}/jobs?status=failed")).json()["data"]
    return f"{API}/jobs/{job['id']}"


RULES = (
    Rule("GET /api/v1/jobs", "jobs:read"),
    Rule("GET /api/v1/jobs/{id}", "jobs:read"),
    Rule("POST /api/v1/jobs/{id}/retry", "jobs:write"),
)
CASES: dict[str, Case] = {
    "retry_job": Case(with_values(job_id=1), frozenset({"jobs:read"})),
}
OPEN: dict[str, str] = {
    "check_worker": "Readiness checks have no caller.",
}
RESOURCES: dict[str, Resource] = {
    "/jobs/{id}": failed_job,
}
CHANGES: dict[str, Change] = {
    "POST /jobs/{id}/retry": (failed_job, None),
}
