"""Dependencies of handlers: transaction, query runner and context."""

from typing import Annotated

from fastapi import Depends
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request

from backend.core.context import Context, context_of
from backend.core.http.route_plan import exit_stack_of
from backend.core.principal import Principal
from backend.db.query_runner import QueryRunner


async def _session(request: Request) -> AsyncSession:
    transaction = context_of(request).database.transaction()
    return await exit_stack_of(request.scope).enter_async_context(transaction)


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
