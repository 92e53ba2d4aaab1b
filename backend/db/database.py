"""One database, as an application holds it: transactions to write, reads to read."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, event, exc, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.connections import FairSemaphore, Timeouts, is_dead
from backend.db.errors import CommitAndRaise
from backend.db.query_runner import QueryRunner

AfterCommit = Callable[[], Awaitable[None]]
_AFTER_COMMIT = "after_commit"


class Database:
    """Opens connections when first used, so it can be made while PostgreSQL is still down.

    `size` bounds writers and readers each: one process holds at most twice as many connections.
    `replica` may lag behind where there is a replica; `primary` knows every commit.
    """

    def __init__(
        self, url: str, *, replica_url: str | None = None, size: int, timeouts: Timeouts
    ) -> None:
        self._gate = FairSemaphore(size, timeouts.pool)
        self._engine = create_async_engine(
            # libpq reads the URL: it may name several hosts, of which SQLAlchemy reads one.
            "postgresql+psycopg://",
            pool_size=size,
            # Overflow connections would be opened and closed again under load.
            max_overflow=0,
            pool_timeout=timeouts.pool,
            connect_args={
                **conninfo_to_dict(url),
                "async_creator_fn": timeouts.open,
                # Behind a pooler the event `begin` opens transactions, and not the driver.
                "autocommit": timeouts.pooled,
            },
            # Parameters are people's data; an error that is logged must not carry them.
            hide_parameters=True,
        )
        event.listen(self._engine.sync_engine, "checkout", _refuse_dead_connection)
        event.listen(self._engine.sync_engine, "commit", _refuse_failed_transaction)
        if timeouts.pooled:
            event.listen(self._engine.sync_engine, "begin", _begin_with(timeouts))
        self.primary = QueryRunner(url, size=size, timeouts=timeouts)
        self.replica = (
            QueryRunner(replica_url, size=size, timeouts=timeouts) if replica_url else self.primary
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Commit on a clean exit, roll back otherwise; then run what `after_commit` registered.

        An exception marked `CommitAndRaise` commits as well, and is raised again.
        """
        async with self._gate.place():
            session = AsyncSession(self._engine, expire_on_commit=False)
            refusal: CommitAndRaise | None = None
            try:
                try:
                    yield session
                except Exception as error:
                    if not isinstance(error, CommitAndRaise):
                        raise
                    refusal = error
                await session.commit()
            except BaseException:
                # Runs to its end also when cancelled; the connection must get back.
                await session.__aexit__(None, None, None)
                raise
            # The connection went back with the commit, so there is nothing left to wait for:
            # the asynchronous way out would make a task and a greenlet for it.
            session.sync_session.close()
        for callback in session.info.pop(_AFTER_COMMIT, ()):
            await callback()
        if isinstance(refusal, Exception):
            raise refusal

    @asynccontextmanager
    async def without_timeouts(self) -> AsyncIterator[AsyncSession]:
        """A transaction in which statements may take any time."""
        async with self.transaction() as session:
            connection = await session.connection()
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
            driver: Any = (await connection.get_raw_connection()).driver_connection
            before, driver.answer = driver.answer, None
            try:
                yield session
            finally:
                driver.answer = before

    async def close(self) -> None:
        await self._engine.dispose()
        await self.primary.close()
        await self.replica.close()


def after_commit(session: AsyncSession, callback: AfterCommit) -> None:
    """Run `callback` once this session's transaction is committed; never if it is rolled back."""
    session.info.setdefault(_AFTER_COMMIT, []).append(callback)


def _begin_with(timeouts: Timeouts) -> Callable[[Connection], None]:
    statements = timeouts.beginning()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statements)

    return begin


def _refuse_dead_connection(dbapi_connection: Any, _record: Any, _proxy: Any) -> None:
    if is_dead(dbapi_connection.driver_connection.pgconn):
        # The pool answers this by opening a new connection.
        raise exc.DisconnectionError


def _refuse_failed_transaction(connection: Connection) -> None:
    # PostgreSQL answers the COMMIT of a failed transaction with a rollback and no error, so a
    # statement whose failure was caught outside a savepoint would lose all writes unnoticed.
    driver: Any = connection.connection.driver_connection
    if driver.pgconn.transaction_status == TransactionStatus.INERROR:
        # SQLAlchemy takes the transaction for ended once its COMMIT has raised.
        connection.connection.rollback()
        raise exc.PendingRollbackError("a statement failed outside a savepoint: nothing is stored")
