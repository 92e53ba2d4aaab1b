"""Sessions of transactions, and their commit."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from sqlalchemy import Connection, event
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.time_limits import TimeLimit

# The time limit of what a task does, such as a request; a COMMIT suspends it.
deadline: ContextVar[TimeLimit | None] = ContextVar("deadline", default=None)
# The remaining limit after a COMMIT, so that a stored change is also reported as stored.
SECONDS_AFTER_COMMIT = 5.0


# The name of a guard in the statement that it guards.
GUARD = "guard"


class BoundStatement(NamedTuple):
    """A statement for the driver, with its parameters by name.

    `guarded` is the SQL of the same statement, which does nothing unless `GUARD` has a row.
    """

    sql: str
    values: Mapping[str, Any]
    guarded: str | None = None


# Returns the number of rows that the statement inserts.
Execute = Callable[[BoundStatement], Awaitable[int]]
BeginHandler = Callable[[object, object, Connection], None]


class TransactionSession(AsyncSession):
    """A session that opens when something uses it. `expire_on_commit` is off.

    Opening and closing a session costs as much as a statement. A transaction that only inserts one
    row needs none: the row is postponed until something uses the session, or else until the commit.
    """

    is_open = False
    has_ended = False

    def __init__(self, engine: AsyncEngine, execute_alone: Execute | None) -> None:
        """`execute_alone` executes a statement in a transaction of its own; None if it may not.

        It is `Uninterrupted` while it executes the statement.
        """
        # The initializer of the base class opens the session.
        self._engine = engine
        self._execute_alone = execute_alone
        self._postponed: BoundStatement | None = None
        self._begin_handlers: list[BeginHandler] = []

    def __getattr__(self, name: str) -> Any:
        # Only for attributes that are missing, such as those of an open session.
        if self.is_open:
            raise AttributeError(name)
        if self.has_ended:
            raise InvalidRequestError("The session's transaction has ended; nothing is executed.")
        self.is_open = True
        # A closed session does not begin anew: nothing would return its connection.
        super().__init__(self._engine, expire_on_commit=False, close_resets_only=False)
        for handler in self._begin_handlers:
            event.listen(self.sync_session, "after_begin", handler)
        if self._postponed is not None:
            event.listen(self.sync_session, "after_begin", self._send_postponed)
        return getattr(self, name)

    def before_first_statement(self, handler: BeginHandler) -> None:
        if self.is_open:
            event.listen(self.sync_session, "after_begin", handler)
        else:
            self._begin_handlers.append(handler)

    def postpone(self, statement: BoundStatement) -> bool:
        """Postpone the statement, unless another one is or may have been executed before it."""
        if self.is_open or self._postponed is not None or self._execute_alone is None:
            return False
        self._postponed = statement
        return True

    def _send_postponed(
        self, _session: object, _transaction: object, connection: Connection
    ) -> None:
        """Handle SQLAlchemy's event `after_begin`, before the session's first statement."""
        if self._postponed is not None:
            statement, self._postponed = self._postponed, None
            connection.exec_driver_sql(statement.sql, dict(statement.values))

    async def commit(self) -> None:
        """Commit. The time limit applies to everything before the COMMIT, such as waits."""
        if self._postponed is not None:
            if self.is_open and self.in_transaction():
                # Sends it, if the session began without a statement.
                await self.connection()
            else:
                statement, self._postponed = self._postponed, None
                assert self._execute_alone is not None
                await self._execute_alone(statement)
        if self.is_open:
            if self.new or self.dirty or self.deleted:
                await self.flush()
            with Uninterrupted():
                await super().commit()

    async def commit_with(self, guard: BoundStatement) -> bool | None:
        """Execute a guard and, if it returns a row, commit the postponed row: one statement.

        Return whether the row is stored; None, having sent nothing, if the transaction has more
        than a postponed row. Later statements of the session are another transaction.
        """
        postponed = self._postponed
        if self.is_open or postponed is None or postponed.guarded is None:
            return None
        assert self._execute_alone is not None
        self._postponed = None
        sql = f"WITH {GUARD} AS ({guard.sql})\n{postponed.guarded}"
        values = {**postponed.values, **guard.values}
        return await self._execute_alone(BoundStatement(sql, values)) > 0

    async def rollback(self) -> None:
        self._postponed = None
        if self.is_open:
            await super().rollback()


class Uninterrupted:
    """A block that suspends the task's time limit: the result of an interrupted COMMIT is unknown.

    A generator with `contextmanager` would take four times as long.
    """

    __slots__ = ("_ends", "_limit")

    def __enter__(self) -> None:
        limit = deadline.get()
        self._limit: TimeLimit | None = None
        # Tasks that a request starts inherit its context, but not its limit.
        if limit is None or limit.expired() or limit.task is not asyncio.current_task():
            return
        self._limit, self._ends = limit, limit.when
        limit.reschedule(None)

    def __exit__(self, *_: object) -> None:
        if self._limit is not None and self._ends is not None:
            now = asyncio.get_running_loop().time()
            self._limit.reschedule(max(self._ends, now + SECONDS_AFTER_COMMIT))


def before_first_statement(session: AsyncSession, handler: BeginHandler) -> None:
    """Call `handler` for SQLAlchemy's event `after_begin`, which savepoints cause as well.

    A transaction of one postponed row has no such event.
    """
    if isinstance(session, TransactionSession):
        session.before_first_statement(handler)
    else:
        event.listen(session.sync_session, "after_begin", handler)


async def commit(session: AsyncSession) -> None:
    """Commit a `TransactionSession`, unless the time limit of the current task has just expired."""
    await _end_at_limit()
    await session.commit()


async def commit_with(session: AsyncSession, guard: BoundStatement) -> bool | None:
    """Like `commit`, but by `TransactionSession.commit_with`; return None for another session."""
    if not isinstance(session, TransactionSession):
        return None
    await _end_at_limit()
    return await session.commit_with(guard)


async def _end_at_limit() -> None:
    limit = deadline.get()
    if limit is not None and limit.expired() and limit.task is asyncio.current_task():
        # The cancellation is due at the next await, which must not be the COMMIT. A commit in a
        # `finally` block comes after it.
        await asyncio.sleep(0)


async def discard(session: AsyncSession) -> None:
    """Roll back what the session's transaction has done so far; it may go on."""
    await session.rollback()
