"""Work that may wait for other work."""

import asyncio
from collections import deque


class Lane:
    """Lets one task go on per turn of the event loop, in the order they came.

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
        while self._waiting:
            first = self._waiting.popleft()
            if not first.done():
                first.set_result(None)
                asyncio.get_running_loop().call_soon(self._move)
                return
        self._moving = False
