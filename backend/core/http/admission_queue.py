"""A queue that admits requests one by one, so that other tasks run in between."""

import asyncio
from collections import deque

# For each 32 waiting requests, one more is admitted per iteration of the event loop. Requests
# admitted together can share round trips to the database.
WAITING_PER_ADMISSION = 32


class AdmissionQueue:
    """Admits waiting tasks in order, one or a few per iteration of the event loop.

    All other tasks of the process run in each iteration, however many tasks wait here.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._scheduled = False

    async def admission(self) -> None:
        """Wait to be admitted."""
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        if not self._scheduled:
            self._scheduled = True
            self._admit()
        await place

    def _admit(self) -> None:
        remaining = len(self._waiting) // WAITING_PER_ADMISSION + 1
        self._scheduled = False
        while self._waiting and remaining:
            first = self._waiting.popleft()
            if not first.done():
                first.set_result(None)
                remaining -= 1
                self._scheduled = True
        if self._scheduled:
            # Even if no task waits: the next one must not be admitted in this iteration.
            asyncio.get_running_loop().call_soon(self._admit)
