"""A queue for password hashes, shared fairly between client addresses."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Literal, TypeVar

from backend.core.errors import ServiceUnavailableError

# Registrations need no account, so they have a lane of their own. Sign-ins have three: of clients
# that sent a right password lately, of unknown clients, and of clients that sent wrong ones only. A
# flood from many networks usually knows no password.
Lane = Literal["known", "sign-in", "guess", "registration"]
# More waiting hashes than this would exceed the patience of clients. In the order of service.
MAX_WAITING: dict[Lane, int] = {"known": 64, "sign-in": 64, "guess": 64, "registration": 32}
# After this many hashes of a lane in a row the next hash is of a later lane, so that a flood in one
# lane does not stop the others.
TURNS_IN_A_ROW = 4
# A client remains known for this many wrong passwords after a right one, because many people may
# share its network.
FORGIVEN = 2
# The number of clients that are remembered. Each of them has cost a hash.
MAX_REMEMBERED = 16_384

T = TypeVar("T")
Turn = asyncio.Future[None]
# By client, in the order of their next turns.
Waiting = OrderedDict[str, deque[Turn]]


class HashQueue:
    """Distributes the threads of an executor among waiting callers, in one event loop.

    In each lane clients take turns, however many hashes of each are waiting. In a full lane the
    client with the most waiting hashes loses its newest one.
    The lane of a sign-in depends on the earlier results that `remember` recorded for its client.
    """

    def __init__(self, executor: Executor, threads: int) -> None:
        self._executor = executor
        self._free = threads
        self._lanes: dict[Lane, Waiting] = {lane: OrderedDict() for lane in MAX_WAITING}
        self._in_a_row: dict[Lane, int] = dict.fromkeys(MAX_WAITING, 0)
        # By client, the wrong passwords after which it is still known; -1 for a client that sent
        # wrong ones only. The latest client is last.
        self._forgiven: OrderedDict[str, int] = OrderedDict()

    async def run(self, work: Callable[[], T], client: str, lane: Lane) -> T:
        """Return the result of `work`; raise `ServiceUnavailableError` if the lane is full."""
        if lane == "sign-in":
            lane = self._lane_of(client)
        if self._free:
            self._free -= 1
        else:
            await self._wait_for_thread(client, lane)
        running = asyncio.get_running_loop().run_in_executor(self._executor, work)
        # Cancelling the caller does not stop the thread; it becomes free when the work is done.
        running.add_done_callback(lambda _: self._hand_over())
        return await asyncio.shield(running)

    def remember(self, client: str, *, verified: bool) -> None:
        """Record whether a sign-in of the client had the right password."""
        left = self._forgiven.pop(client, 0)
        self._forgiven[client] = FORGIVEN if verified else max(left - 1, -1)
        if len(self._forgiven) > MAX_REMEMBERED:
            self._forgiven.popitem(last=False)

    def _lane_of(self, client: str) -> Lane:
        left = self._forgiven.get(client)
        if left is None:
            return "sign-in"
        return "known" if left >= 0 else "guess"

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
        left = [lane for lane, waiting in self._lanes.items() if waiting]
        for lane, waiting in self._lanes.items():
            if waiting and (self._in_a_row[lane] < TURNS_IN_A_ROW or lane == left[-1]):
                self._in_a_row[lane] += 1
                return waiting
            self._in_a_row[lane] = 0
        return OrderedDict()


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
