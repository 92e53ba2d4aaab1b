"""A queue for password hashes, shared fairly between client addresses."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Literal, TypeVar

from backend.core.errors import ServiceUnavailableError

# Registrations need no account, so they have a lane of their own, apart from sign-ins.
Lane = Literal["sign-in", "registration"]
# More waiting hashes than this would exceed the patience of clients.
MAX_WAITING: dict[Lane, int] = {"sign-in": 64, "registration": 32}
# After this many sign-ins in a row the next hash is a registration, so that a flood of sign-ins
# does not stop registrations.
SIGN_INS_IN_A_ROW = 4

T = TypeVar("T")
Turn = asyncio.Future[None]
# By client, in the order of their next turns.
Waiting = OrderedDict[str, deque[Turn]]


class HashQueue:
    """Distributes the threads of an executor among waiting callers, in one event loop.

    In each lane clients take turns, however many hashes of each are waiting. In a full lane the
    client with the most waiting hashes loses its newest one.
    """

    def __init__(self, executor: Executor, threads: int) -> None:
        self._executor = executor
        self._free = threads
        self._sign_ins = 0
        self._lanes: dict[Lane, Waiting] = {lane: OrderedDict() for lane in MAX_WAITING}

    async def run(self, work: Callable[[], T], client: str, lane: Lane) -> T:
        """Return the result of `work`; raise `ServiceUnavailableError` if the lane is full."""
        if self._free:
            self._free -= 1
        else:
            await self._wait_for_thread(client, lane)
        running = asyncio.get_running_loop().run_in_executor(self._executor, work)
        # Cancelling the caller does not stop the thread; it becomes free when the work is done.
        running.add_done_callback(lambda _: self._hand_over())
        return await asyncio.shield(running)

    async def _wait_for_thread(self, client: str, lane: Lane) -> None:
        waiting = self._lanes[lane]
        if sum(map(len, waiting.values())) >= MAX_WAITING[lane]:
            _make_room(waiting, client)
        turn: Turn = asyncio.get_running_loop().create_future()
        waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                _leave(waiting, client, turn)
            elif turn.exception() is None:
                self._hand_over()
            raise

    def _hand_over(self) -> None:
        """Give a free thread to the next caller."""
        while waiting := self._next_lane():
            client, turns = waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                waiting[client] = turns
            # The caller may have been cancelled in the meantime.
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _next_lane(self) -> Waiting:
        """Return the lane to serve next; it is empty if no caller waits."""
        sign_ins, registrations = self._lanes["sign-in"], self._lanes["registration"]
        if sign_ins and (self._sign_ins < SIGN_INS_IN_A_ROW or not registrations):
            self._sign_ins += 1
            return sign_ins
        self._sign_ins = 0
        return registrations


def _make_room(waiting: Waiting, client: str) -> None:
    """Remove the newest hash of the client with the most, to make room for one of `client`.

    Raise `ServiceUnavailableError` if `client` would then have more places than the other one.
    """
    most = max(waiting, key=lambda other: len(waiting[other]))
    if len(waiting[most]) <= len(waiting.get(client, ())) + 1:
        raise ServiceUnavailableError
    newest = waiting[most].pop()
    if not newest.done():
        newest.set_exception(ServiceUnavailableError())


def _leave(waiting: Waiting, client: str, turn: Turn) -> None:
    turns = waiting.get(client)
    if turns and turn in turns:
        turns.remove(turn)
        if not turns:
            del waiting[client]
