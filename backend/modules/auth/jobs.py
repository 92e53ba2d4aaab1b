"""What auth does from time to time."""

from datetime import timedelta

from sqlalchemy import delete, or_, select
from sqlmodel import col

from backend.core.context import Context
from backend.core.jobs import Job
from backend.db.base import utc_now
from backend.modules.auth.models import UserSession

KEPT = timedelta(days=1)
BATCH = 1000


async def purge_sessions(context: Context) -> None:
    """Remove sessions that ended a day ago, a bounded number in each transaction."""
    before = utc_now() - KEPT
    over = (
        select(col(UserSession.id))
        .where(or_(col(UserSession.expires_at) < before, col(UserSession.revoked_at) < before))
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    while True:
        async with context.database.transaction() as session:
            gone = await session.exec(delete(UserSession).where(col(UserSession.id).in_(over)))
        if gone.rowcount < BATCH:
            return


PURGE_SESSIONS = Job("auth.purge_sessions", purge_sessions, cron="17 * * * *")
