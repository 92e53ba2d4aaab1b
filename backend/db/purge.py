"""Deletion of expired rows."""

from sqlalchemy import ColumnElement, delete, select
from sqlmodel import col

from backend.db.base import Identified
from backend.db.database import Database


async def delete_in_batches(
    database: Database, model: type[Identified], condition: ColumnElement[bool], *, batch: int
) -> None:
    """Delete all rows that satisfy `condition`, at most `batch` per transaction.

    Rows locked by another transaction are skipped; a later call deletes them.
    """
    ids = select(col(model.id)).where(condition).limit(batch).with_for_update(skip_locked=True)
    while True:
        async with database.transaction() as session:
            deleted = await session.exec(delete(model).where(col(model.id).in_(ids)))
        if deleted.rowcount < batch:
            return
