"""A queue for password hashes, shared fairly between client addresses."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Literal, TypeVar

from backend.core.errors import ServiceUnavailableError

# Registrations need no account, so they have a lane of their own. Sign-ins have three lanes: of
# clients that recently sent a correct password, of new clients, and of clients that sent wrong
# passwords only. Floods from many networks usually have no correct password.
Lane = Literal["known", "sign-in", "guess", "registration"]
# More waiting hashes than this would exceed the timeouts of clients. In the order of priority.
MAX_WAITING: dict[Lane, int] = {"known": 64, "sign-in": 64, "guess": 64, "registration": 32}
# Seconds to wait for a thread: less than a request may take, so that its end is known to be the
# queue's, and the attempt at a password is refunded.
MAX_WAIT = 20.0
# After this many hashes of a lane in a row the next hash is of a later lane, so that a flood in one
# lane does not stop the others.
MAX_IN_A_ROW = 4
# A client remains known for this many wrong passwords after a correct one, because many users may
# share its network.
TOLERATED_FAILURES = 2
# The number of clients whose results are kept. Each entry has cost its client a hash.
MAX_RECORDED = 16_384

T = TypeVar("T")
Place = asyncio.Future[None]
# The waiting hashes by client, in the order in which the clients are served.
Waiting = OrderedDict[str, deque[Place]]


class HashQueue:
    """Distributes the threads of an executor among waiting callers, in one event loop.

    The clients of a lane are served alternately, however many hashes of each are waiting. In a full
    lane the client with the most waiting hashes loses its newest one. The lane of a sign-in depends
    on its client's earlier results; see `record_result`.
    """

    def __init__(self, executor: Executor, threads: int, max_wait: float = MAX_WAIT) -> None:
        """`max_wait` is the number of seconds to wait for a thread."""
        self._executor = executor
        self._free = threads
        self._max_wait = max_wait
        self._lanes: dict[Lane, Waiting] = {lane: OrderedDict() for lane in MAX_WAITING}
        self._in_a_row: dict[Lane, int] = dict.fromkeys(MAX_WAITING, 0)
        # By client, the number of wrong passwords for which it remains known; -1 for a client that
        # sent wrong passwords only. The latest client is last.
        self._tolerated: OrderedDict[str, int] = OrderedDict()

    async def run(self, work: Callable[[], T], client: str, lane: Lane) -> T:
        """Return the result of `work`.

        Raise `ServiceUnavailableError` if the lane is full, or no thread becomes free in time.
        """
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

    def record_result(self, client: str, *, verified: bool) -> None:
        """Record whether a sign-in of the client had the correct password."""
        remaining = self._tolerated.pop(client, 0)
        self._tolerated[client] = TOLERATED_FAILURES if verified else max(remaining - 1, -1)
        if len(self._tolerated) > MAX_RECORDED:
            self._tolerated.popitem(last=False)

    def _lane_of(self, client: str) -> Lane:
        remaining = self._tolerated.get(client)
        if remaining is None:
            return "sign-in"
        return "known" if remaining >= 0 else "guess"

    async def _wait_for_thread(self, client: str, lane: Lane) -> None:
        waiting = self._lanes[lane]
        if sum(map(len, waiting.values())) >= MAX_WAITING[lane]:
            _make_room(waiting, client)
        future: Place = asyncio.get_running_loop().create_future()
        waiting.setdefault(client, deque()).append(future)
        timer = asyncio.get_running_loop().call_later(self._max_wait, _time_out, future)
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():
                _leave(waiting, client, future)
            elif future.exception() is None:
                self._hand_over()
            raise
        except ServiceUnavailableError:
            _leave(waiting, client, future)
            raise
        finally:
            timer.cancel()

    def _hand_over(self) -> None:
        """Give a free thread to the next caller."""
        while waiting := self._next_lane():
            client, futures = waiting.popitem(last=False)
            future = futures.popleft()
            if futures:
                waiting[client] = futures
            # The caller may have been cancelled in the meantime.
            if not future.done():
                future.set_result(None)
                return
        self._free += 1

    def _next_lane(self) -> Waiting:
        """Return the lane to serve next; it is empty if no caller waits."""
        busy = [lane for lane, waiting in self._lanes.items() if waiting]
        for lane, waiting in self._lanes.items():
            if waiting and (self._in_a_row[lane] < MAX_IN_A_ROW or lane == busy[-1]):
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


def _time_out(future: Place) -> None:
    if not future.done():
        future.set_exception(ServiceUnavailableError())


def _leave(waiting: Waiting, client: str, future: Place) -> None:
    futures = waiting.get(client)
    if futures and future in futures:
        futures.remove(future)
        if not futures:
            del waiting[client]
