"""Work that may wait for other work."""

import asyncio
from collections import deque

# Of so many that wait, one more goes on per turn: those who come in a crowd can then share what
# they do next.
CROWD = 32


class Lane:
    """Lets one task, or few of a crowd, go on per turn of the event loop, in the order they came.

    However many wait here, whatever else the process does gets its share of each turn.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._moving = False

    async def turn(self) -> None:
        loop = asyncio.get_running_loop()
        mine = loop.create_future()
        self._waiting.append(mine)
        if not self._moving:
            self._moving = True
            self._move()
        await mine

    def _move(self) -> None:
        left = len(self._waiting) // CROWD + 1
        self._moving = False
        while self._waiting and left:
            first = self._waiting.popleft()
            if not first.done():
                first.set_result(None)
                left -= 1
                self._moving = True
        if self._moving:
            # Also with nobody waiting: who comes next must not go within this turn.
            asyncio.get_running_loop().call_soon(self._move)
