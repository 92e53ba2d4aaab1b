"""Reads of a replica, which fall back to the primary while the replica is away or lags behind."""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psycopg
import structlog
from psycopg.rows import dict_row
from sqlalchemy import Numeric, func, literal_column, select

from backend.db.connections import Connection, Timeouts
from backend.db.errors import (
    LOST_STATEMENTS,
    DatabaseUnavailableError,
    EncodingError,
    PoolerError,
    is_unavailable,
)
from backend.db.fair_semaphore import urgent
from backend.db.queries import Query
from backend.db.query_runner import QueryRunner, Row
from backend.db.troubles import database_trouble
from backend.telemetry.database import SILENT, DatabaseObserver
from backend.telemetry.tracing import SUSPENDED, annotate

log = structlog.get_logger()

# Interval of the checks, and how long a replica may take to reply to one.
CHECK_SECONDS = 1.0
# The interval until the first result, during the first second.
FIRST_SECONDS = 0.05
REPLY_SECONDS = 1.0
# A connection that takes longer to open counts as a failure of the replica.
CONNECT_SECONDS = 1.0
_WRITTEN = Query(
    select(
        literal_column("pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')", Numeric).label("position")
    ).where(~func.pg_is_in_recovery())
)
_REPLAYED = (
    b"SELECT pg_is_in_recovery() AS is_standby,"
    b" pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0') AS position"
)
AWAY = "The replica does not answer."
NO_STANDBY = "The replica is not a standby: it does not follow the primary."
UNCHECKED = "The replica has not been checked yet."


class ReplicaRunner(QueryRunner):
    """A query runner on a replica. While `problem` is set, queries run on the primary instead.

    `watch` sets and clears `problem`. A query that fails because the replica is unavailable sets
    it as well, and runs again on the primary, so that its caller notices nothing.
    """

    def __init__(
        self,
        url: str,
        primary: QueryRunner,
        *,
        size: int,
        timeouts: Timeouts,
        max_lag: float,
        observer: DatabaseObserver = SILENT,
    ) -> None:
        """`max_lag` is the number of seconds by which the replica may lag behind."""
        super().__init__(url, size=size, timeouts=timeouts, observer=observer, name="replica")
        # Until a check has seen how far the replica lags.
        self.problem: str | None = UNCHECKED
        # In seconds; None while the replica does not answer.
        self.lag: float | None = None
        # Set once a check has had a result.
        self.checked = asyncio.Event()
        self._primary = primary
        self._suspended_at = 0.0
        # Whether the replica has replayed any position of the primary that a check has seen.
        self._has_caught_up = False
        self._max_lag = max_lag
        self._active: set[psycopg.AsyncCursor[Row]] = set()
        # The times of the checks, with the position in the WAL that the primary had reached.
        self._positions: deque[tuple[float, int]] = deque()
        self._checking: Connection | None = None

    async def _run(self, query: Query, values: Mapping[str, Any], begin: bytes | None) -> list[Row]:
        if self.problem is None:
            try:
                return await super()._run(query, values, begin)
            except (psycopg.errors.QueryCanceled, psycopg.errors.FeatureNotSupported):
                # The statement took too long, as it would on the primary; or `execute` repeats it
                # on a new connection, because a migration has changed a column.
                raise
            except LOST_STATEMENTS:
                # `execute` reports the pooler.
                raise
            except psycopg.errors.SerializationFailure:
                # Replay removed rows that the statement still needed, which is no fault.
                pass
            except Exception as error:
                if not is_unavailable(error):
                    raise
                self._suspend(_reason(error), error)
        if self.problem is not None:
            annotate({SUSPENDED: True})
        return await self._primary.execute(query, values, begin)

    async def _cursor(self) -> psycopg.AsyncCursor[Row]:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                cursor = await super()._cursor()
        except TimeoutError:
            raise DatabaseUnavailableError(
                "the replica opens no connection", trouble="timeout"
            ) from None
        self._active.add(cursor)
        return cursor

    async def _release(self, cursor: psycopg.AsyncCursor[Row]) -> None:
        try:
            # A ROLLBACK on a frozen replica has to be aborted as well.
            await super()._release(cursor)
        finally:
            self._active.discard(cursor)

    def _suspend(self, problem: str, error: BaseException | None = None) -> None:
        if self.problem in (None, UNCHECKED):
            log.warning("replica_suspended", reason=problem, **database_trouble(error))
        self.problem, self._suspended_at = problem, time.monotonic()
        self.checked.set()

    def _abort(self) -> None:
        """End the queries under way, which then run on the primary."""
        for cursor in self._active:
            # Closing the descriptor would not wake the event loop; the end of the stream does.
            with (
                suppress(OSError, psycopg.Error),
                socket.socket(fileno=cursor.connection.fileno()) as opened,
            ):
                try:
                    opened.shutdown(socket.SHUT_RDWR)
                finally:
                    opened.detach()

    async def watch(self) -> None:
        """Check the replica each `CHECK_SECONDS` until cancelled."""
        # Under overload the checks must not fail.
        urgent.set(True)
        started = time.monotonic()
        try:
            while True:
                await self._check()
                # Without the primary there is no result, perhaps for hours.
                is_first = not self.checked.is_set() and time.monotonic() < started + CHECK_SECONDS
                await asyncio.sleep(FIRST_SECONDS if is_first else CHECK_SECONDS)
        finally:
            await self._disconnect()

    async def _check(self) -> None:
        started = time.monotonic()
        written = await self._written()
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                replayed = await self._replayed()
        except (psycopg.Error, OSError, TimeoutError, DatabaseUnavailableError) as error:
            self.lag = None
            self._suspend(_reason(error), error)
            self._abort()
            await self._disconnect()
            return
        if replayed is None:
            self.lag = None
            self._suspend(NO_STANDBY)
            return
        if written is not None:
            self._positions.append((started, written))
        self.lag = lag = self._lag(replayed)
        if lag > self._max_lag:
            self._suspend(f"The replica lags {lag:.0f} seconds behind.")
        elif self.problem is not None and self._has_caught_up and self._suspended_at < started:
            # Not if a query has failed since this check began.
            log.info("replica_resumed", after=self.problem)
            self.problem = None
            self.checked.set()

    async def _written(self) -> int | None:
        """Return the position in the WAL that the primary has reached; None if it is away."""
        try:
            row = await self._primary.first(_WRITTEN)
        except Exception as error:  # noqa: BLE001  # reads of the primary report it
            log.debug("primary_not_read", error=type(error).__name__, **database_trouble(error))
            return None
        return None if row is None else int(row["position"])

    async def _replayed(self) -> int | None:
        """Return the position up to which the replica has replayed the WAL; None if it does not."""
        if self._checking is None or self._checking.closed:
            self._checking = await self._timeouts.open(
                self._url, autocommit=True, row_factory=dict_row
            )
        cursor = await self._checking.execute(_REPLAYED, prepare=False)
        row = await cursor.fetchone()
        if row is None or not row["is_standby"] or row["position"] is None:
            return None
        return int(row["position"])

    def _lag(self, replayed: int) -> float:
        """Return for how many seconds the replica has lacked a position of the primary.

        The age of the last replayed transaction is no measure, because it grows while the primary
        is idle.
        """
        while self._positions and self._positions[0][1] <= replayed:
            self._positions.popleft()
            self._has_caught_up = True
        return time.monotonic() - self._positions[0][0] if self._positions else 0

    async def _disconnect(self) -> None:
        if self._checking is not None:
            self._checking.pgconn.finish()
        self._checking = None


def _reason(error: BaseException) -> str:
    """Return why the replica cannot be used. These errors name a remedy and no password."""
    return str(error) if isinstance(error, PoolerError | EncodingError) else AWAY
