"""The application's database: transactions for writes, query runners for reads."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from time import perf_counter
from typing import Any, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, ExceptionContext, event, exc, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.connections import Timeouts, is_dead
from backend.db.errors import CommitAndRaise, DatabaseUnavailableError
from backend.db.fair_semaphore import FairSemaphore
from backend.db.query_runner import QueryRunner
from backend.db.replica import ReplicaRunner
from backend.db.transaction_pool import TransactionPool
from backend.db.transactions import BoundStatement, TransactionSession, commit
from backend.telemetry.database import SILENT, DatabaseObserver

AfterCommit = Callable[[], Awaitable[None]]
_AFTER_COMMIT = "after_commit"
_STARTED = "statement_started"


# A connection that has been idle for this long is closed, at most twice as late.
UNUSED_SECONDS = 60.0


class Database:
    """A transaction pool and the query runners of the primary and the replica.

    Connections open on first use, so a `Database` can be created while PostgreSQL is down.
    `size` limits each pool: a process holds at most `size` connections for transactions and as
    many for the reads of each server. `primary` reads see every commit; `replica` reads may lag
    about `replica_max_lag` seconds behind if a replica is configured, and are the same as
    `primary` otherwise. `before_commit` is awaited in each transaction that has run a statement.
    """

    def __init__(
        self,
        url: str,
        *,
        replica_url: str | None = None,
        replica_max_lag: float = 10,
        before_commit: Callable[[AsyncSession], Awaitable[None]] | None = None,
        size: int,
        timeouts: Timeouts,
        observer: DatabaseObserver = SILENT,
    ) -> None:
        self._before_commit = before_commit
        self._observer = observer
        # Without a transaction, the time limits are those of the connection.
        self._may_be_alone = before_commit is None and not timeouts.pooled
        on_wait = observer.waits_of("transactions", size)
        gate = FairSemaphore(size, timeouts.pool, on_wait=on_wait)
        self._engine = create_async_engine(
            # libpq parses the URL: it supports several hosts, SQLAlchemy only one.
            "postgresql+psycopg://",
            poolclass=TransactionPool,
            connect_args={
                **conninfo_to_dict(url),
                "async_creator_fn": timeouts.open,
                # With a pooler, the `begin` event below starts transactions, not the driver.
                "autocommit": timeouts.pooled,
            },
            # Parameters contain personal data, which must not reach logged errors.
            hide_parameters=True,
        )
        self._pool.gate = gate
        event.listen(self._engine.sync_engine, "checkout", _checks_of(timeouts))
        event.listen(self._engine.sync_engine, "commit", _refuse_failed_transaction)
        _observe_statements(self._engine.sync_engine, observer)
        if timeouts.pooled:
            event.listen(self._engine.sync_engine, "begin", _begin_with(timeouts))
        self.primary = QueryRunner(url, size=size, timeouts=timeouts, observer=observer)
        # By the names that the observer gets.
        self.pools = {"transactions": gate, "reads": self.primary.gate}
        self._replica: ReplicaRunner | None = None
        if replica_url is not None:
            self._replica = ReplicaRunner(
                replica_url,
                self.primary,
                size=size,
                timeouts=timeouts,
                max_lag=replica_max_lag,
                observer=observer,
            )
            self.pools["replica"] = self._replica.gate
        self.replica = self._replica or self.primary

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Commit on a clean exit, roll back on an exception; then run `after_commit` callbacks.

        The first statement takes a connection. An exception marked `CommitAndRaise` commits as
        well, and is raised again.
        """
        execute_alone = self._execute_alone if self._may_be_alone else None
        session = TransactionSession(self._engine, execute_alone)
        refusal: CommitAndRaise | None = None
        try:
            try:
                yield session
            except Exception as error:
                if not isinstance(error, CommitAndRaise):
                    raise
                refusal = error
            if self._before_commit is not None and session.is_open and session.in_transaction():
                await self._before_commit(session)
            await commit(session)
        except BaseException:
            if session.is_open:
                # Completes even when cancelled, so the connection returns to the pool.
                await session.__aexit__(None, None, None)
            raise
        finally:
            session.has_ended = True
        if session.is_open:
            # The commit has returned the connection to the pool, so closing does no I/O. The
            # asynchronous `close` would cost a task and a greenlet.
            session.sync_session.close()
            for callback in session.info.pop(_AFTER_COMMIT, ()):
                await callback()
        if isinstance(refusal, Exception):
            raise refusal

    async def _execute_alone(self, statement: BoundStatement) -> int:
        return await self._pool.execute_alone(statement, self._observer)

    @asynccontextmanager
    async def without_timeouts(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction without a statement timeout, on the server and in the client."""
        async with self.transaction() as session:
            connection = await session.connection()
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
            driver: Any = (await connection.get_raw_connection()).driver_connection
            previous, driver.response_timeout = driver.response_timeout, None
            try:
                yield session
            finally:
                driver.response_timeout = previous

    @asynccontextmanager
    async def maintained(self) -> AsyncIterator[None]:
        """In the block, close unused connections, and check the replica if there is one."""
        tasks = [asyncio.create_task(self._maintain())]
        if self._replica is not None:
            tasks.append(asyncio.create_task(self._replica.watch()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _maintain(self) -> None:
        while True:
            await asyncio.sleep(UNUSED_SECONDS)
            # A server that is down has closed them already.
            with suppress(DatabaseUnavailableError, exc.SQLAlchemyError, psycopg.Error, OSError):
                await self.close_unused()

    @property
    def _pool(self) -> TransactionPool:
        return cast(TransactionPool, self._engine.pool)

    async def close_unused(self) -> None:
        """Close the connections that nothing has needed since the last call."""
        await self._pool.close_unused()
        await self.primary.close_unused()
        if self._replica is not None:
            await self._replica.close_unused()

    def replica_problem(self) -> str | None:
        """Return why reads of the replica run on the primary; None if they do not."""
        return self._replica.problem if self._replica is not None else None

    async def replica_checked(self) -> None:
        """Wait for the first result of the checks of the replica, if there is one."""
        if self._replica is not None:
            await self._replica.checked.wait()

    @property
    def replica_lag(self) -> float | None:
        """The lag of the replica in seconds; None if it does not answer, or there is none."""
        return self._replica.lag if self._replica is not None else None

    async def close(self) -> None:
        await self._engine.dispose()
        await self.primary.close()
        await self.replica.close()


def after_commit(session: AsyncSession, callback: AfterCommit) -> None:
    """Run `callback` after this session's transaction has committed, never after a rollback."""
    session.info.setdefault(_AFTER_COMMIT, []).append(callback)


def _observe_statements(engine: Engine, observer: DatabaseObserver) -> None:
    """Report the statements of an engine; a connection runs one at a time."""

    def start(connection: Connection, *_: Any) -> None:
        connection.info[_STARTED] = perf_counter()

    def end(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        observer.statement(statement, perf_counter() - connection.info.pop(_STARTED))

    def fail(failure: ExceptionContext) -> None:
        connection = failure.connection
        # Errors of connecting, committing and the like belong to no statement.
        if connection is None or failure.statement is None:
            return
        if (started := connection.info.pop(_STARTED, None)) is not None:
            cause = failure.original_exception
            observer.statement(failure.statement, perf_counter() - started, cause)

    event.listen(engine, "before_cursor_execute", start)
    event.listen(engine, "after_cursor_execute", end)
    event.listen(engine, "handle_error", fail)


def _begin_with(timeouts: Timeouts) -> Callable[[Connection], None]:
    statements = timeouts.beginning()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statements)

    return begin


def _checks_of(timeouts: Timeouts) -> Callable[[Any, Any, Any], None]:
    def check(dbapi_connection: Any, _record: Any, _proxy: Any) -> None:
        if is_dead(dbapi_connection.driver_connection.pgconn):
            # The pool reacts to this error by opening a new connection.
            raise exc.DisconnectionError
        if dbapi_connection.autocommit and not timeouts.pooled:
            # It has executed a statement alone.
            dbapi_connection.autocommit = False

    return check


def _refuse_failed_transaction(connection: Connection) -> None:
    # PostgreSQL executes the COMMIT of a failed transaction as a rollback without an error. If a
    # statement's error was caught outside a savepoint, all writes would be lost silently.
    driver: Any = connection.connection.driver_connection
    if driver.pgconn.transaction_status == TransactionStatus.INERROR:
        # SQLAlchemy considers the transaction ended if this event handler raises.
        connection.connection.rollback()
        raise exc.PendingRollbackError("a statement failed outside a savepoint: nothing is stored")
