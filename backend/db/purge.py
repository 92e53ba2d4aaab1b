"""Removing what nobody needs any more."""

from sqlalchemy import ColumnElement, delete, select
from sqlmodel import col

from backend.db.base import Identified
from backend.db.database import Database


async def delete_in_batches(
    database: Database, model: type[Identified], condition: ColumnElement[bool], *, batch: int
) -> None:
    """Delete all rows of which `condition` is true, at most `batch` in each transaction.

    Rows that somebody else holds are left for the next time.
    """
    found = select(col(model.id)).where(condition).limit(batch).with_for_update(skip_locked=True)
    while True:
        async with database.transaction() as session:
            gone = await session.exec(delete(model).where(col(model.id).in_(found)))
        if gone.rowcount < batch:
            return
