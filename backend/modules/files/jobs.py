from datetime import timedelta

import structlog

from backend.core.context import Context
from backend.core.jobs import Job
from backend.modules.files.links import is_key
from backend.modules.files.queries import KNOWN
from backend.modules.files.storage import storage_of

# Younger objects may belong to a transaction that is not committed yet.
UNKNOWN_AFTER = timedelta(hours=1)
log = structlog.get_logger()


async def remove(context: Context, *, key: str) -> None:
    """Delete the object of a deleted row."""
    await storage_of(context).delete(key)


async def sweep(context: Context, *, older_than: timedelta = UNKNOWN_AFTER) -> None:
    """Delete the objects that have no row: a process ended, or a deletion failed for long."""
    storage = storage_of(context)
    removed = 0
    async for listed in storage.names(older_than=older_than):
        # The place may also hold objects of others.
        names = [name for name in listed if is_key(name)]
        rows = await context.database.primary.all(KNOWN, keys=names)
        for name in set(names).difference(row["key"] for row in rows):
            await storage.delete(name)
            removed += 1
    await storage.remove_unfinished(is_key, older_than=older_than)
    if removed:
        log.info("files_swept", removed=removed)


REMOVE = Job("files.remove", remove)
SWEEP = Job("files.sweep", sweep, cron="23 * * * *", timeout=3000)
