"""Dependencies of handlers: transaction, query runner and context."""

from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import Depends
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request

from backend.core.context import Context, context_of
from backend.core.principal import Principal
from backend.db.query_runner import QueryRunner


async def _session(request: Request) -> AsyncSession:
    # FastAPI closes this stack before it sends the response. A dependency with `yield` would
    # commit afterwards, so a failed COMMIT would already be acknowledged.
    stack: AsyncExitStack = request.scope["fastapi_function_astack"]
    return await stack.enter_async_context(context_of(request).database.transaction())


async def _reader(request: Request) -> QueryRunner:
    database = context_of(request).database
    principal: Principal | None = request.scope["principal"]
    # The replica may lack recent writes of this session, and a write must not depend on old rows.
    is_current = principal.wrote_recently if principal else "reads_primary" in request.scope
    if is_current or request.method != "GET":
        return database.primary
    return database.replica


async def _context(request: Request) -> Context:
    return context_of(request)


Session = Annotated[AsyncSession, Depends(_session)]
Reader = Annotated[QueryRunner, Depends(_reader)]
CurrentContext = Annotated[Context, Depends(_context)]
