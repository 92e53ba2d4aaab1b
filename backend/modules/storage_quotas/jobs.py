"""Erasure of the counts of deleted users."""

from uuid import UUID

from sqlmodel import col, delete

from backend.core.context import Context
from backend.core.jobs import Job
from backend.modules.storage_quotas.models import StoredBytes


async def erase_counts(context: Context, *, user_id: str) -> None:
    """Delete the counts of a user."""
    async with context.database.transaction() as session:
        await session.exec(delete(StoredBytes).where(col(StoredBytes.user_id) == UUID(user_id)))


ERASE_COUNTS = Job("storage_quotas.erase_counts", erase_counts)
