"""A queue that admits requests one by one, so that other tasks run in between."""

import asyncio
from collections import deque

# One more request is admitted per iteration of the event loop for each 32 that wait. Requests that
# are admitted together can share round trips to the database.
WAITING_PER_ADMISSION = 32


class AdmissionQueue:
    """Admits one waiting task per iteration of the event loop, or a few of many, in their order.

    However many wait, all other tasks of the process get their share of each iteration.
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
        left = len(self._waiting) // WAITING_PER_ADMISSION + 1
        self._scheduled = False
        while self._waiting and left:
            first = self._waiting.popleft()
            if not first.done():
                first.set_result(None)
                left -= 1
                self._scheduled = True
        if self._scheduled:
            # Even if nobody waits: the next to arrive must not be admitted in this iteration.
            asyncio.get_running_loop().call_soon(self._admit)
