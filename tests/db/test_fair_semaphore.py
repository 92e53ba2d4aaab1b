"""Semaphores are fair, and refuse new requests while the queue is too long."""

import asyncio
import time
from collections import Counter

import pytest

from backend.db import congestion
from backend.db.congestion import (
    BURST_PART,
    MEAN_ROUNDS,
    OVERLOAD_PART,
    SAMPLE_SECONDS,
    Congestion,
    ThreadUse,
    busy_seconds,
)
from backend.db.errors import DatabaseUnavailableError, OverloadedError
from backend.db.fair_semaphore import TURNS, FairSemaphore, admitted, urgent

SIZE, WAIT = 4, 5.0


async def test_gate_serves_in_the_order_of_arrival() -> None:
    gate = FairSemaphore(2, wait=10)
    order: list[int] = []
    inside = most = 0

    async def visit(number: int) -> None:
        nonlocal inside, most
        async with gate.place():
            order.append(number)
            inside += 1
            most = max(most, inside)
            for _ in range(3):
                await asyncio.sleep(0)
            inside -= 1

    # A new call queues behind those already waiting.
    visits = [visit(number) for number in range(32)]
    await asyncio.gather(*visits)
    assert order == list(range(32))
    assert most == 2


async def test_gate_lets_nobody_overtake_who_waits() -> None:
    gate = FairSemaphore(1, wait=10)
    order: list[str] = []

    async def greedy() -> None:
        for _ in range(10):
            async with gate.place():
                order.append("greedy")
                await asyncio.sleep(0)

    async def modest() -> None:
        async with gate.place():
            order.append("modest")

    await asyncio.gather(greedy(), modest(), modest())
    assert order[:4] == ["greedy", "modest", "modest", "greedy"]


async def test_gate_waits_only_so_long() -> None:
    gate = FairSemaphore(1, wait=0.05)
    await gate.acquire()
    with pytest.raises(DatabaseUnavailableError, match=r"free within 0\.05 s"):
        await gate.acquire()
    gate.release()
    await gate.acquire()


@pytest.mark.parametrize("wait", [0.05, 10])
async def test_gate_loses_no_place_to_who_stops_waiting(wait: float) -> None:
    """A wait may be cancelled at any step, also when its place has just been granted."""
    gate = FairSemaphore(1, wait=wait)
    for steps in range(6):
        await gate.acquire()
        waiting = [asyncio.create_task(gate.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        gate.release()
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        for result in ended:
            if result is None:
                gate.release()
        async with asyncio.timeout(1):
            await gate.acquire()
        assert gate._free == 0
        gate.release()


def busy(*, interval: float, seconds: float, start: float = 1000.0) -> tuple[Congestion, float]:
    """Return a queue in which a place has become free every `interval`, and the time now."""
    congestion, now = Congestion(SIZE, WAIT), start
    congestion.begin(now)
    while now < start + seconds:
        now += interval
        congestion.grant(now)
    return congestion, now


def longest(congestion: Congestion, now: float) -> int:
    """Return the length of the queue at which the next request is refused."""
    return next(count for count in range(100_000) if congestion.refuses(count, now))


def test_a_burst_may_wait_for_most_of_the_maximal_wait() -> None:
    congestion, now = busy(interval=0.01, seconds=WAIT / 2)
    assert longest(congestion, now) == pytest.approx(BURST_PART * WAIT / 0.01, rel=0.1)


def test_a_queue_that_lasts_is_kept_short() -> None:
    congestion, now = busy(interval=0.01, seconds=WAIT + 1)
    assert longest(congestion, now) == pytest.approx(OVERLOAD_PART * WAIT / 0.01, rel=0.1)
    # The length follows the speed of the database.
    for _ in range(10 * MEAN_ROUNDS * SIZE):
        now += 0.05
        congestion.grant(now)
    assert longest(congestion, now) == pytest.approx(OVERLOAD_PART * WAIT / 0.05, rel=0.15)


def test_one_request_may_always_wait_for_each_place() -> None:
    congestion, now = busy(interval=2, seconds=100)
    assert longest(congestion, now) == SIZE


def test_the_first_intervals_refuse_nobody() -> None:
    congestion, now = busy(interval=0.5, seconds=1)
    assert not congestion.refuses(1000, now)


def test_a_queue_that_has_ended_is_forgotten() -> None:
    congestion, now = busy(interval=0.5, seconds=60)
    assert congestion.refuses(SIZE, now)
    congestion.begin(now)
    assert not congestion.refuses(1000, now)


def test_a_stall_is_no_overload() -> None:
    """A migration that waits for its lock stops all statements on a table for up to 4 seconds."""
    congestion, now = busy(interval=0.01, seconds=0.5)
    assert not congestion.refuses(300, now + 4)
    # All places become free at once, then the queue proceeds as before.
    for number in range(100):
        congestion.grant(now + 4 + max(0, number - SIZE) * 0.01)
        assert not congestion.refuses(300 - number, now + 4 + max(0, number - SIZE) * 0.01)


def test_a_stall_for_longer_than_the_maximal_wait_refuses_at_once() -> None:
    congestion, now = busy(interval=0.01, seconds=0.5)
    assert congestion.refuses(SIZE, now + WAIT + 0.1)
    assert not congestion.refuses(SIZE - 1, now + WAIT + 0.1)


def test_a_busy_thread_is_exhausted_and_an_idle_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    used, found = ThreadUse(), False
    now, busy = 1000.0, busy_seconds()
    for share, expected in ((0.5, False), (0.95, True), (1.0, True), (0.3, False)):
        # The first sample compares with the start of the clock.
        for _ in range(2):
            now, busy = now + SAMPLE_SECONDS + 0.1, busy + share * (SAMPLE_SECONDS + 0.1)
            monkeypatch.setattr(congestion, "busy_seconds", lambda seconds=busy: seconds)
            found = used.exhausted(now)
        assert found == expected
        assert used.exhausted(now + SAMPLE_SECONDS / 2) == expected


def test_the_time_of_a_thread_is_that_in_which_it_computes() -> None:
    before, started = busy_seconds(), time.thread_time()
    while time.thread_time() < started + 0.05:
        pass
    assert busy_seconds() - before > 0.04


class Crowd:
    """A semaphore of one place that is used by others, so overloaded that it refuses requests."""

    def __init__(self, *, sheds: bool = True) -> None:
        self.semaphore = FairSemaphore(1, 0.2, sheds=sheds)
        self.order: list[str] = []

    async def gather(self) -> list[asyncio.Task[None]]:
        await self.semaphore.acquire()
        waiting = [asyncio.create_task(self.use(f"waiting {each}")) for each in range(3)]
        await asyncio.sleep(0)
        now = asyncio.get_running_loop().time()
        # As if nobody had got the place for longer than anybody may wait for it.
        self.semaphore._congestion.begin(now - 1)
        return waiting

    async def use(self, name: str) -> None:
        async with self.semaphore.place():
            self.order.append(name)

    async def check(self) -> None:
        """The health check of an instance."""
        urgent.set(True)
        await self.use("check")

    async def go_on(self, waits: int) -> None:
        """One more read of a request that has waited for earlier ones."""
        admitted.set(Counter({self.semaphore: waits}))
        await self.use(f"read {waits + 1}")


@pytest.mark.usefixtures("idle_thread")
async def test_new_requests_are_refused_at_once_and_others_go_first() -> None:
    crowd = Crowd()
    waiting = await crowd.gather()
    with pytest.raises(OverloadedError):
        await crowd.use("new")
    others = [
        asyncio.create_task(each)
        for each in (crowd.go_on(TURNS + 1), crowd.go_on(1), crowd.check())
    ]
    await asyncio.sleep(0)
    crowd.semaphore.release()
    await asyncio.gather(*waiting, *others)
    # An export of many pages is not refused, but takes turns with new requests.
    waited = [f"waiting {each}" for each in range(3)]
    assert crowd.order == ["check", "read 2", *waited, f"read {TURNS + 2}"]
    await crowd.use("new")


async def test_who_waits_for_the_first_time_is_known_the_next_time() -> None:
    semaphore = FairSemaphore(1, 10)
    waits = Counter[FairSemaphore]()
    admitted.set(waits)
    await semaphore.acquire()
    # Without a queue nothing is recorded.
    assert not waits
    second = asyncio.create_task(semaphore.acquire())
    await asyncio.sleep(0)
    assert waits == {semaphore: 1}
    semaphore.release()
    await second


async def test_the_reads_of_one_caller_may_always_wait_for_each_other() -> None:
    crowd = Crowd(sheds=False)
    waiting = await crowd.gather()
    late = asyncio.create_task(crowd.use("late"))
    await asyncio.sleep(0)
    crowd.semaphore.release()
    await asyncio.gather(*waiting, late)
    assert crowd.order[-1] == "late"


async def test_cancelled_requests_no_longer_wait() -> None:
    semaphore = FairSemaphore(2, 5)
    for _ in range(2):
        await semaphore.acquire()
    first, *others = [asyncio.create_task(semaphore.acquire()) for _ in range(4)]
    await asyncio.sleep(0)
    for each in others:
        each.cancel()
    await asyncio.wait(others)
    # As if nobody had got a place for longer than anybody may wait: a third would be refused.
    semaphore._congestion.begin(asyncio.get_running_loop().time() - 10)
    second = asyncio.create_task(semaphore.acquire())
    await asyncio.sleep(0)
    for _ in range(2):
        semaphore.release()
    await asyncio.gather(first, second)
