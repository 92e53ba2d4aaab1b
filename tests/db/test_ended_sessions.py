"""A session ends with its transaction: later use would take a connection that nothing returns."""

from contextlib import suppress

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InvalidRequestError
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.connections import Timeouts
from backend.db.database import Database


async def use(session: AsyncSession) -> None:
    await (await session.connection()).execute(text("SELECT 1"))


@pytest.mark.parametrize("opens", [True, False])
@pytest.mark.parametrize("fails", [True, False])
async def test_a_session_is_useless_after_its_transaction(
    database_url: str, opens: bool, fails: bool
) -> None:
    database = Database(database_url, size=1, timeouts=Timeouts())
    with suppress(ZeroDivisionError):
        async with database.transaction() as session:
            if opens:
                await use(session)
            if fails:
                raise ZeroDivisionError
    for _ in range(2):
        with pytest.raises(InvalidRequestError):
            await use(session)
    assert database.pools["transactions"].in_use == 0
    async with database.transaction() as another:
        await use(another)
    await database.close()
