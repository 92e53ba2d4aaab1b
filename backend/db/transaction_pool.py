"""SQLAlchemy's connections for transactions: limited, and closed when unused."""

import logging
from time import perf_counter
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import exc as sa
from sqlalchemy.pool import ConnectionPoolEntry, NullPool
from sqlalchemy.util.concurrency import await_only, greenlet_spawn

from backend.db.connections import is_dead
from backend.db.errors import LOST_STATEMENTS
from backend.db.fair_semaphore import FairSemaphore
from backend.db.transactions import BoundStatement, Uninterrupted
from backend.telemetry.database import DatabaseObserver

# SQLAlchemy names a pool's logger after its class. Its own pools log warnings and errors only.
logging.getLogger(__name__).setLevel(logging.WARNING)
_CURSOR = "cursor"
# Errors of a row, which say nothing about the connection.
_ROW_ERRORS = (psycopg.IntegrityError, psycopg.DataError)
# A prepared statement is lost, or outdated by a change of a column. Other connections have it too.
_STATEMENT_ERRORS = (*LOST_STATEMENTS, psycopg.errors.FeatureNotSupported)


class TransactionPool(NullPool):
    """Idle connections, the most recently used one first. `Database` sets the `gate`.

    A connection in use holds a place of the gate. A transaction waits for it with its first
    statement, so what it does before, such as hashing a password, holds none. SQLAlchemy's own
    pools are not fair, and never close a connection that nothing needs any more.
    """

    gate: FairSemaphore

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._idle: list[ConnectionPoolEntry] = []
        # Connections that were idle all the time since `close_unused`.
        self._unused = 0

    def _do_get(self) -> ConnectionPoolEntry:
        await_only(self.gate.acquire())
        try:
            return self._next_idle() or self._create_connection()
        except BaseException:
            self.gate.release()
            raise

    def _next_idle(self) -> ConnectionPoolEntry | None:
        entry = self._idle.pop() if self._idle else None
        self._unused = min(self._unused, len(self._idle))
        return entry

    async def execute_alone(self, statement: BoundStatement, observer: DatabaseObserver) -> int:
        """Execute an INSERT in a transaction of its own; raise SQLAlchemy's errors.

        Return the number of rows that it inserts.
        The time limit of the task applies to the waits for a place and a connection only.
        """
        await self.gate.acquire()
        try:
            entry = await self._open_entry()
            try:
                with Uninterrupted():
                    inserted = await _execute(entry, statement, observer)
            except BaseException as error:
                await greenlet_spawn(self._keep_or_close, entry, error)
                raise
            self._idle.append(entry)
            return inserted
        except psycopg.Error as error:
            raise sa.DBAPIError.instance(
                statement.sql, None, error, psycopg.Error, hide_parameters=True
            ) from error
        finally:
            self.gate.release()

    def _keep_or_close(self, entry: ConnectionPoolEntry, error: BaseException) -> None:
        """Keep the connection of a failed statement only if the next one is sure to succeed.

        Without a transaction there is no rollback, which would restore it.
        """
        driver = entry.driver_connection
        is_idle = driver is not None and driver.info.transaction_status == TransactionStatus.IDLE
        if is_idle and isinstance(error, _ROW_ERRORS):
            self._idle.append(entry)
            return
        is_lost = driver is not None and driver.closed and isinstance(error, psycopg.Error)
        entry.close()
        if is_lost or isinstance(error, _STATEMENT_ERRORS):
            self.dispose()

    async def _open_entry(self) -> ConnectionPoolEntry:
        """Return an idle entry whose connection is open, or a new one."""
        while (entry := self._next_idle()) is not None:
            if entry.driver_connection is not None and not is_dead(entry.driver_connection.pgconn):
                return entry
            # SQLAlchemy closes connections in a greenlet only.
            await greenlet_spawn(entry.close)
        return await greenlet_spawn(self._create_connection)

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        # SQLAlchemy calls this for every entry that `_do_get` has returned, also after a failure.
        self._idle.append(record)
        self.gate.release()

    def _invalidate(self, *arguments: Any, **options: Any) -> None:
        # SQLAlchemy has lost a connection, probably with its server or network. It would check the
        # age of idle ones itself, but `execute_alone` does not.
        super()._invalidate(*arguments, **options)
        self.dispose()

    def recreate(self) -> "TransactionPool":
        pool = super().recreate()
        assert isinstance(pool, TransactionPool)
        pool.gate = self.gate
        return pool

    def dispose(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def close_unused(self) -> None:
        """Close the connections that no transaction has needed since the last call."""
        closing, self._idle = self._idle[: self._unused], self._idle[self._unused :]
        self._unused = len(self._idle)
        for entry in closing:
            await greenlet_spawn(entry.close)


async def _execute(
    entry: ConnectionPoolEntry, statement: BoundStatement, observer: DatabaseObserver
) -> int:
    cursor = _cursor_of(entry)
    if not cursor.connection.autocommit:
        # SQLAlchemy's transactions turn it off.
        await cursor.connection.set_autocommit(True)
    started = perf_counter()
    try:
        await cursor.execute(statement.sql, statement.values)
    except BaseException as error:
        observer.statement(statement.sql, perf_counter() - started, error)
        raise
    finally:
        # The cursor would hold the row, which may contain personal data, as long as it is idle.
        cursor._query = None  # noqa: SLF001  # psycopg drops it only with the next statement
    observer.statement(statement.sql, perf_counter() - started)
    return cursor.rowcount


def _cursor_of(entry: ConnectionPoolEntry) -> psycopg.AsyncCursor[Any]:
    """Return a cursor that is kept, because a new one would cost a good part of a statement."""
    # SQLAlchemy empties `info` when it opens another connection.
    cursor: psycopg.AsyncCursor[Any] | None = entry.info.get(_CURSOR)
    if cursor is None:
        assert entry.driver_connection is not None
        cursor = entry.info[_CURSOR] = entry.driver_connection.cursor()
    return cursor
