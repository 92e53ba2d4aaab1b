"""Constraints of the database whose violation is an error of the client."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.errors import AppError, ConflictError
from backend.db.errors import driver_error, violated_constraint


@asynccontextmanager
async def constraint_errors(
    session: AsyncSession, errors: Mapping[str, type[AppError]]
) -> AsyncIterator[None]:
    """Store what the block changes, in a savepoint; raise the error of the violated constraint.

    `errors` has the names of constraints and of unique indexes. The transaction can go on. Raise
    `ConflictError` if it is the victim of a deadlock.
    """
    try:
        with deadlocks_are_conflicts():
            # Opening a savepoint flushes earlier changes, so the block changes rows after it is
            # open.
            async with session.begin_nested():
                yield
                await session.flush()
    except IntegrityError as error:
        known = errors.get(violated_constraint(error) or "")
        if known is None:
            raise
        raise known from None


@contextmanager
def deadlocks_are_conflicts() -> Iterator[None]:
    """Raise `ConflictError` if a statement of the block is the victim of a deadlock.

    Two transactions that take unique values in different orders wait for each other: one creates
    an account with a username that the other gives up, and the other takes the address of the
    first. The database is not unavailable then, and repeating the request tells who has the value.
    """
    try:
        yield
    except DBAPIError as error:
        if isinstance(driver_error(error), psycopg.errors.DeadlockDetected):
            raise ConflictError from error
        raise
