"""SQLAlchemy's connections for transactions: limited, and closed when unused."""

import logging
from typing import Any

from sqlalchemy.pool import ConnectionPoolEntry, NullPool
from sqlalchemy.util.concurrency import await_only, greenlet_spawn

from backend.db.fair_semaphore import FairSemaphore

# SQLAlchemy names a pool's logger after its class. Its own pools log warnings and errors only.
logging.getLogger(__name__).setLevel(logging.WARNING)


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
        if self._idle:
            entry = self._idle.pop()
            self._unused = min(self._unused, len(self._idle))
            return entry
        self._unused = 0
        try:
            return self._create_connection()
        except BaseException:
            self.gate.release()
            raise

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        # SQLAlchemy calls this for every entry that `_do_get` has returned, also after a failure.
        self._idle.append(record)
        self.gate.release()

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
