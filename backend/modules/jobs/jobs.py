from backend.core.context import Context
from backend.core.jobs import Job
from backend.core.principal import SYSTEM
from backend.modules.jobs import service


async def delete_old(context: Context) -> None:
    await service.delete_old(context, SYSTEM)


CLEAN = Job("jobs.clean", delete_old, cron="17 3 * * *")
