"""Limits on concurrent reads that take much of a process, with fair turns for callers.

Expensive reads have a share of the connections, so reads of single rows, and authentication, never
queue behind searches. Large pages have places because of the memory that each of them takes.
"""

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from backend.db.errors import DatabaseUnavailableError, TooManyReadsError
from backend.db.fair_semaphore import FairSemaphore

# One of every `PART` connections, and at least one, is available to expensive reads.
PART = 5
# Reads of one caller that may run or wait. Only one runs at a time, so two callers
# alternate, however many reads either of them has waiting.
PER_CALLER = 32


@dataclass
class _Caller:
    running: FairSemaphore
    reads: int = 0


class PerCallerLimiter:
    """A limit of `places` concurrent reads, and of one per caller.

    A read waits up to `wait` seconds for the caller's own reads, then up to `wait` seconds for a
    place.
    """

    def __init__(self, places: int, wait: float, resource: str = "database connection") -> None:
        self._places = FairSemaphore(places, wait, resource)
        self._wait = wait
        self._callers: dict[Hashable, _Caller] = {}

    @asynccontextmanager
    async def place(self, caller: Hashable) -> AsyncIterator[None]:
        """Hold a place inside the block.

        Raise `TooManyReadsError` if this caller has too many reads or waits too long for its
        own; raise `DatabaseUnavailableError` if other callers' reads leave no place in time.
        """
        state = self._callers.setdefault(caller, _Caller(FairSemaphore(1, self._wait, sheds=False)))
        if state.reads >= PER_CALLER:
            raise TooManyReadsError
        state.reads += 1
        try:
            try:
                await state.running.acquire()
            except DatabaseUnavailableError:
                # If others wait, too, it is not this caller who has too many.
                if self._places.waiting:
                    raise
                raise TooManyReadsError from None
            try:
                async with self._places.place():
                    yield
            finally:
                state.running.release()
        finally:
            state.reads -= 1
            if not state.reads:
                del self._callers[caller]
