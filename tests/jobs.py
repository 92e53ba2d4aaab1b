"""Work for later, done now: what a worker would do, in the process of the test."""

from sqlalchemy import text

from backend.core.context import Context
from backend.core.module import Module
from tests.applications import MODULES

_FETCH = text(
    "SELECT id, task_name, args FROM procrastinate_fetch_job_v2(ARRAY['default'], NULL)"
    " WHERE id IS NOT NULL"
)
_DONE = text("SELECT procrastinate_finish_job_v1(:id, 'succeeded', true)")


async def run_jobs(context: Context, modules: tuple[Module, ...] = MODULES) -> None:
    """Run everything that is due, also what that enqueues, until nothing is left."""
    jobs = {job.name: job for module in modules for job in module.jobs}
    while True:
        async with context.database.transaction() as session:
            found = (await session.execute(_FETCH)).first()
        if found is None:
            return
        await jobs[found.task_name].run(context, **found.args)
        async with context.database.transaction() as session:
            await session.execute(_DONE, {"id": found.id})
