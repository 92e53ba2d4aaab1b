from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.jobs import enqueue
from backend.modules.storage_quotas.jobs import ERASE_COUNTS


async def erase(_: Context, session: AsyncSession, user_id: UUID) -> None:
    """Delete the counts of a user by a job after the commit.

    A concurrent write of the user locks a count and then waits for the deletion of the account,
    which would wait for the count.
    """
    await enqueue(session, ERASE_COUNTS, user_id=str(user_id))
