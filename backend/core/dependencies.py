"""What handlers ask for beside the caller."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request

from backend.core.context import Context, context_of
from backend.db.reads import Reads


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    async with context_of(request).database.transaction() as session:
        yield session


async def _reads(request: Request) -> Reads:
    return context_of(request).database.reads


async def _context(request: Request) -> Context:
    return context_of(request)


# The scope makes FastAPI leave the transaction before it sends the answer; its default would
# acknowledge a write whose COMMIT then fails.
Session = Annotated[AsyncSession, Depends(_session, scope="function")]
ReadSession = Annotated[Reads, Depends(_reads)]
CurrentContext = Annotated[Context, Depends(_context)]
