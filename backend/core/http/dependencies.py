"""What handlers ask for beside the caller."""

from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import Depends
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request

from backend.core.context import Context, context_of
from backend.core.principal import Principal
from backend.db.query_runner import QueryRunner


async def _session(request: Request) -> AsyncSession:
    # FastAPI leaves this stack before it sends the answer; at its default for `yield`, a write
    # whose COMMIT then fails would be acknowledged.
    stack: AsyncExitStack = request.scope["fastapi_function_astack"]
    return await stack.enter_async_context(context_of(request).database.transaction())


async def _reader(request: Request) -> QueryRunner:
    database = context_of(request).database
    principal: Principal | None = request.scope["principal"]
    # A replica may lag behind what this session wrote, and a write must not depend on old rows.
    if request.method != "GET" or (principal and principal.wrote_recently):
        return database.primary
    return database.replica


async def _context(request: Request) -> Context:
    return context_of(request)


Session = Annotated[AsyncSession, Depends(_session)]
Reader = Annotated[QueryRunner, Depends(_reader)]
CurrentContext = Annotated[Context, Depends(_context)]
