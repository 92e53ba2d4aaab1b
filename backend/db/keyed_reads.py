"""Reads of single rows by key: concurrent callers share statements.

A statement that reads ten rows costs the process hardly more than one that reads a single row.
Nobody waits for others to ask: a statement is sent as soon as the event loop has run what was due
already, and contains the keys that were asked for until then.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import Context, copy_context
from itertools import islice
from typing import Any
from uuid import UUID

from backend.db.fair_semaphore import FairSemaphore, wait_in_turn

Row = dict[str, Any]
# Statements of one query that run at the same time; callers that ask meanwhile share the next one.
STATEMENTS = 2
# A statement that takes longer no longer counts, so that a connection that hangs stops nobody else.
SLOW_SECONDS = 1.0
MAX_KEYS = 100


class KeyedReads:
    """The reads of one query. `read` returns the rows with the given ids, which are in `key`.

    A row is read after its caller has asked for it. Callers that asked for the same key get the
    same dictionary. `gate` is the queue in which `read` waits for a connection: it decides for each
    caller whether the process is overloaded, so that no caller is refused because of another one.
    """

    def __init__(
        self, read: Callable[[list[UUID]], Awaitable[Sequence[Row]]], key: str, gate: FairSemaphore
    ) -> None:
        self._read = read
        self._key = key
        self._gate = gate
        self._waiting: dict[UUID, list[asyncio.Future[Row | None]]] = {}
        # Of the first caller that waits: its trace contains the statement.
        self._context = Context()
        self._is_due = False
        # Whether the latest statement was for several callers.
        self._is_shared = False
        # A statement is known by its task, or by the key if its caller sends it.
        self._running: set[asyncio.Task[None] | UUID] = set()

    async def find(self, key: UUID) -> Row | None:
        """Return the row with this key, or None. Other types of keys could fail for all callers."""
        if type(key) is not UUID:
            raise TypeError("keys are UUIDs")
        if not (self._is_shared or self._running):
            return await self._find_alone(key)
        self._gate.refuse_if_overloaded()
        future: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
        if not self._waiting:
            self._context = copy_context()
        self._waiting.setdefault(key, []).append(future)
        self._start()
        return await future

    async def _find_alone(self, key: UUID) -> Row | None:
        """Send a statement for this caller alone, which saves a task."""
        self._running.add(key)
        try:
            rows = await self._read([key])
        finally:
            self._end(key)
        return rows[0] if rows else None

    def _start(self) -> None:
        """Start a statement for the callers that wait, unless enough of them run."""
        if self._is_due or not self._waiting or len(self._running) >= STATEMENTS:
            return
        self._is_due = True
        # A task of its own, so that cancelling one caller does not cancel the others.
        self._running.add(
            asyncio.get_running_loop().create_task(self._send(), context=self._context)
        )

    def _end(self, statement: "asyncio.Task[None] | UUID") -> None:
        self._running.discard(statement)
        self._start()

    def _take(self) -> dict[UUID, list[asyncio.Future[Row | None]]]:
        """Remove the callers of the next statement from those that wait."""
        self._is_due = False
        if len(self._waiting) <= MAX_KEYS:
            taken, self._waiting = self._waiting, {}
            return taken
        keys = list(islice(self._waiting, MAX_KEYS))
        taken = {key: self._waiting.pop(key) for key in keys}
        self._start()
        return taken

    async def _send(self) -> None:
        callers = self._take()
        self._is_shared = sum(map(len, callers.values())) > 1
        wait_in_turn()
        task = asyncio.current_task()
        assert task is not None
        slow = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._end, task)
        try:
            rows = await self._read(list(callers))
        except Exception as error:  # noqa: BLE001  # passed on to the callers
            for future in _pending(callers):
                future.set_exception(error)
        else:
            found = {row[self._key]: row for row in rows}
            for key, futures in callers.items():
                for future in futures:
                    if not future.done():
                        future.set_result(found.get(key))
        finally:
            slow.cancel()
            self._end(task)
            for future in _pending(callers):
                future.cancel()


def _pending(
    callers: dict[UUID, list[asyncio.Future[Row | None]]],
) -> Iterator[asyncio.Future[Row | None]]:
    return (future for futures in callers.values() for future in futures if not future.done())
