from uuid import UUID

from sqlmodel import col, delete
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.modules.storage_quotas.models import StoredBytes


async def erase(_: Context, session: AsyncSession, user_id: UUID) -> None:
    """Delete the counts of a user."""
    await session.exec(delete(StoredBytes).where(col(StoredBytes.user_id) == user_id))
