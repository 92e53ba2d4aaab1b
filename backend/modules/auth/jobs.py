"""The job that deletes old sessions."""

from datetime import timedelta

from sqlalchemy import or_
from sqlmodel import col

from backend.core.context import Context
from backend.core.jobs import Job
from backend.db.base import utc_now
from backend.db.purge import delete_in_batches
from backend.modules.auth.models import UserSession

KEPT = timedelta(days=1)
BATCH = 1000


async def purge_sessions(context: Context) -> None:
    """Delete sessions a day after they ended, at most `BATCH` per transaction."""
    before = utc_now() - KEPT
    over = or_(col(UserSession.expires_at) < before, col(UserSession.revoked_at) < before)
    await delete_in_batches(context.database, UserSession, over, batch=BATCH)


PURGE_SESSIONS = Job("auth.purge_sessions", purge_sessions, cron="17 * * * *")
