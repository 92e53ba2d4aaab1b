from uuid import UUID

from sqlalchemy import delete
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.jobs import enqueue
from backend.modules.files.jobs import REMOVE
from backend.modules.files.models import StoredFile


async def erase(_: Context, session: AsyncSession, user_id: UUID) -> None:
    """Delete the rows of a user's files now, and their contents by jobs after the commit.

    The module that counts the user's bytes erases the counts.
    """
    statement = delete(StoredFile).where(col(StoredFile.owner_id) == user_id)
    rows = await (await session.connection()).execute(statement.returning(col(StoredFile.key)))
    for row in rows:
        await enqueue(session, REMOVE, key=row.key)
