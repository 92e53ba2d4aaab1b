"""Reads that may take long keep to a share of the connections, and their callers to a few at once.

Whoever asks for a single row, or for who is calling, then never waits behind a search.
"""

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from backend.db.connections import FairSemaphore
from backend.db.errors import DatabaseUnavailableError, TooManyReadsError

# One of so many connections, but at least one, is for expensive reads.
PART = 5
# Expensive reads of one caller that run or wait. One runs at a time, so that of two callers each
# has every other turn, however many reads of the one wait.
PER_CALLER = 32


@dataclass
class _Caller:
    turns: FairSemaphore
    present: int = 0


class Share:
    """The places for expensive reads on a pool of `size` connections.

    `wait` is how many seconds a read waits for its caller's turn, and then for a place.
    """

    def __init__(self, size: int, wait: float) -> None:
        self._places = FairSemaphore(max(1, size // PART), wait)
        self._wait = wait
        self._callers: dict[Hashable, _Caller] = {}

    @asynccontextmanager
    async def place(self, caller: Hashable) -> AsyncIterator[None]:
        """A place inside the block.

        `TooManyReadsError` if this caller has too many reads here; `DatabaseUnavailableError` if
        those of others leave no place in time.
        """
        mine = self._callers.setdefault(caller, _Caller(FairSemaphore(1, self._wait)))
        if mine.present >= PER_CALLER:
            raise TooManyReadsError
        mine.present += 1
        try:
            try:
                await mine.turns.acquire()
            except DatabaseUnavailableError:
                raise TooManyReadsError from None
            try:
                async with self._places.place():
                    yield
            finally:
                mine.turns.release()
        finally:
            mine.present -= 1
            if not mine.present:
                del self._callers[caller]
