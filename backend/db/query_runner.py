"""Reads outside of transactions: a connection is held only while its statement runs."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from time import perf_counter
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from backend.db.connections import REMEDY, Timeouts, is_dead
from backend.db.errors import LOST_STATEMENTS, PoolerError
from backend.db.fair_semaphore import FairSemaphore
from backend.db.keyed_reads import MAX_KEYS, KeyedReads
from backend.db.queries import CALLER, KeyedQuery, Query, SharedQuery
from backend.db.read_limits import PART, PerCallerLimiter
from backend.telemetry.database import SILENT, DatabaseObserver

Row = dict[str, Any]
Rows = Coroutine[Any, Any, list[Row]]
RunQuery = Callable[..., Rows]
Values = tuple[Any, ...]
# Groups of shared reads that are kept while nobody reads. Without them, a group would forget
# between two callers that its statements were shared.
RECENT_GROUPS = 64
_IN_TRANSACTION = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


class QueryRunner:
    """A pool of at most `size` autocommit connections that runs queries.

    Each query sees what was committed when it started. A connection is held only while a
    statement runs, so a handler that awaits something else between two reads holds none.
    Autocommit saves the round trips of BEGIN and ROLLBACK and keeps prepared statements. With
    `timeouts.pooled`, statements are not prepared, and only the role's time limits apply.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        timeouts: Timeouts,
        observer: DatabaseObserver = SILENT,
        name: str = "reads",
    ) -> None:
        """`name` is that of the pool for the observer."""
        self._url = url
        self._timeouts = timeouts
        self._observer = observer
        self.gate = FairSemaphore(size, timeouts.pool, on_wait=observer.waits_of(name, size))
        self._share = PerCallerLimiter(max(1, size // PART), timeouts.pool)
        brief = replace(timeouts, statement=min(timeouts.expensive_read, timeouts.statement))
        # A prepared statement may get a plan that suits most values, but not the rare ones.
        custom = "SET LOCAL plan_cache_mode = force_custom_plan"
        self._begin_expensive = f"{brief.beginning()}; {custom}".encode()
        self._idle: list[psycopg.AsyncCursor[Row]] = []
        # Connections that were idle all the time since `close_unused`.
        self._unused = 0
        self._keyed: dict[KeyedQuery, KeyedReads[UUID, Row]] = {}
        self._shared: WeakValueDictionary[Hashable, KeyedReads[Values, list[Row]]] = (
            WeakValueDictionary()
        )
        self._recent: deque[object] = deque(maxlen=RECENT_GROUPS)

    def all(self, query: Query, /, **values: Any) -> Rows:
        """Return all rows, each a dictionary by column name."""
        return self.execute(query, values)

    @asynccontextmanager
    async def expensive(self, caller: Hashable) -> AsyncIterator[RunQuery]:
        """Yield a variant of `all` for queries that may take long.

        These queries have the timeout `expensive_read` and a share of the connections, which
        callers use in turn. Raise `TooManyReadsError` if `caller` is in too many such blocks.
        """

        def run(query: Query, /, **values: Any) -> Rows:
            return self.execute(query, values, self._begin_expensive)

        async with self._share.place(caller):
            yield run

    async def execute(
        self, query: Query, values: Mapping[str, Any], begin: bytes | None = None
    ) -> list[Row]:
        """Run the query, in a transaction started by the statement `begin` if there is one."""
        await self.gate.acquire()
        try:
            try:
                return await self._run(query, values, begin)
            except psycopg.errors.FeatureNotSupported:
                # "Cached plan must not change result type": a migration has changed a column that
                # a prepared statement selects. Only a new connection discards the statement.
                await self.close()
                return await self._run(query, values, begin)
        except LOST_STATEMENTS as error:
            raise PoolerError(f"A pooler lost a prepared statement: {REMEDY}.") from error
        finally:
            self.gate.release()

    async def first(self, query: Query, /, **values: Any) -> Row | None:
        """Return the first row, or None if there is none."""
        rows = await self.all(query, **values)
        return rows[0] if rows else None

    async def find(self, query: KeyedQuery, key: UUID) -> Row | None:
        """Return the row with this key as it is now, or None; do not change it.

        Concurrent calls share statements, unless a row is so large that each has its own.
        """
        if type(key) is not UUID:
            # An invalid key would fail for all callers of the statement.
            raise TypeError("keys are UUIDs")
        if query.max_keys == 1:
            return await self.first(query, keys=[key])
        reads = self._keyed.get(query)
        if reads is None:

            async def read(keys: list[UUID]) -> dict[UUID, Row]:
                rows = await self.execute(query, {"keys": keys})
                return {row[query.key]: row for row in rows}

            reads = self._keyed[query] = KeyedReads(read, self.gate, query.max_keys)
        return await reads.find(key)

    async def shared(
        self, query: SharedQuery, values: Mapping[str, Any], max_callers: int = MAX_KEYS
    ) -> list[Row]:
        """Return all rows; do not change them.

        Concurrent calls share statements, at most `max_callers` each, and with equal values rows.
        """
        common = {name: values[name] for name in query.common}
        group = (query, max_callers, *common.values())
        reads = self._shared.get(group)
        if reads is None:

            async def read(keys: list[Values]) -> dict[Values, list[Row]]:
                if len(keys) == 1:
                    own = zip(query.own, keys[0], strict=True)
                    return {keys[0]: await self.execute(query, {**common, **dict(own)})}
                columns = zip(query.own, map(list, zip(*keys, strict=True)), strict=True)
                rows = await self.execute(query.together, {**common, **dict(columns)})
                found: dict[Values, list[Row]] = {key: [] for key in keys}
                lists = list(found.values())
                for row in rows:
                    lists[row.pop(CALLER) - 1].append(row)
                return found

            reads = self._shared[group] = KeyedReads(read, self.gate, max_callers)
            self._recent.append(reads)
        return await reads.find(tuple([values[name] for name in query.own])) or []

    async def close_unused(self) -> None:
        """Close the connections that no read has needed since the last call."""
        unused, self._idle = self._idle[: self._unused], self._idle[self._unused :]
        self._unused = len(self._idle)
        for cursor in unused:
            await cursor.connection.close()

    async def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            await self._idle.pop().connection.close()

    async def _run(self, query: Query, values: Mapping[str, Any], begin: bytes | None) -> list[Row]:
        cursor = await self._cursor()
        try:
            if begin is not None:
                await cursor.execute(begin, prepare=False)
            started = perf_counter()
            try:
                await cursor.execute(query.sql, query.parameters(values))
                rows = await cursor.fetchall()
            except BaseException as error:
                self._observer.statement(query.sql, perf_counter() - started, error)
                raise
            self._observer.statement(query.sql, perf_counter() - started)
            return rows
        finally:
            await self._release(cursor)

    async def _cursor(self) -> psycopg.AsyncCursor[Row]:
        """Return the cursor of an idle or new connection.

        Each connection keeps one cursor, because creating one costs a tenth of a statement.
        """
        while self._idle:
            cursor = self._idle.pop()
            self._unused = min(self._unused, len(self._idle))
            if not is_dead(cursor.connection.pgconn):
                return cursor
            await cursor.connection.close()
        self._unused = 0
        connection = await self._timeouts.open(self._url, autocommit=True, row_factory=dict_row)
        return connection.cursor()

    async def _release(self, cursor: psycopg.AsyncCursor[Row]) -> None:
        if cursor.connection.pgconn.transaction_status in _IN_TRANSACTION:
            with suppress(psycopg.OperationalError):
                await cursor.execute(b"ROLLBACK", prepare=False)
        # The result of a cancelled or failed statement may still be unread on the connection.
        if cursor.connection.pgconn.transaction_status == TransactionStatus.IDLE:
            self._idle.append(cursor)
        else:
            await cursor.connection.close()
