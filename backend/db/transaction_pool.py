"""SQLAlchemy's connections for transactions, of which the unused ones can be closed."""

import logging
from typing import Any

from sqlalchemy.pool import ConnectionPoolEntry, NullPool
from sqlalchemy.util.concurrency import greenlet_spawn

# SQLAlchemy names a pool's logger after its class. Its own pools log warnings and errors only.
logging.getLogger(__name__).setLevel(logging.WARNING)


class TransactionPool(NullPool):
    """Idle connections, the most recently used one first. `Database` limits their number.

    SQLAlchemy's own pools never close a connection that nothing needs any more.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._idle: list[ConnectionPoolEntry] = []
        # Connections that were idle all the time since `close_unused`.
        self._unused = 0

    def _do_get(self) -> ConnectionPoolEntry:
        if not self._idle:
            self._unused = 0
            return self._create_connection()
        entry = self._idle.pop()
        self._unused = min(self._unused, len(self._idle))
        return entry

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        self._idle.append(record)

    def dispose(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def close_unused(self) -> None:
        """Close the connections that no transaction has needed since the last call."""
        closing, self._idle = self._idle[: self._unused], self._idle[self._unused :]
        self._unused = len(self._idle)
        for entry in closing:
            await greenlet_spawn(entry.close)
