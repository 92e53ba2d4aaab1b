"""Constraints of the database whose violation is an error of the client."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.errors import AppError
from backend.db.errors import violated_constraint


@asynccontextmanager
async def constraint_errors(
    session: AsyncSession, errors: Mapping[str, type[AppError]]
) -> AsyncIterator[None]:
    """Store what the block changes, in a savepoint; raise the error of the violated constraint.

    `errors` has the names of constraints and of unique indexes. The transaction can go on.
    """
    try:
        # Opening a savepoint flushes earlier changes, so the block changes rows after it is open.
        async with session.begin_nested():
            yield
            await session.flush()
    except IntegrityError as error:
        known = errors.get(violated_constraint(error) or "")
        if known is None:
            raise
        raise known from None
