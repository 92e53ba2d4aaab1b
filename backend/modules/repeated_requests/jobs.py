from sqlmodel import col

from backend.core.context import Context
from backend.core.jobs import Job
from backend.db.base import utc_now
from backend.db.purge import delete_in_batches
from backend.modules.repeated_requests.models import StoredResponseRow

BATCH = 1000


async def purge_keys(context: Context) -> None:
    """Delete expired responses, at most `BATCH` per transaction."""
    expired = col(StoredResponseRow.expires_at) < utc_now()
    await delete_in_batches(context.database, StoredResponseRow, expired, batch=BATCH)


PURGE_KEYS = Job("repeated_requests.purge_keys", purge_keys, cron="47 * * * *")
