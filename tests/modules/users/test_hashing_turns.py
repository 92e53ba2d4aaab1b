"""Hashes are queued fairly by client, and sign-ins do not wait behind registrations."""

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from backend.core.context import Context
from backend.core.errors import ServiceUnavailableError
from backend.core.hash_scheduling import hash_queue
from backend.core.hash_scheduling.hash_queue import MAX_IN_A_ROW, MAX_WAITING, HashQueue, Lane
from tests.actors import PASSWORD, Actor, Client
from tests.hashing import guess_as, start_hash, threads_of, waiting_sign_ins

SHARED = MAX_WAITING["sign-in"]


class Queue:
    """A single thread that is busy until `release`, and the order in which the hashes ran."""

    def __init__(self) -> None:
        self.hashes = HashQueue(ThreadPoolExecutor(1), 1)
        self.release = threading.Event()
        self.order: list[str] = []
        self.tasks = [asyncio.ensure_future(self.hashes.run(self.release.wait, "busy", "sign-in"))]

    async def join(self, client: str, lane: Lane = "sign-in") -> asyncio.Task[None]:
        task = asyncio.ensure_future(
            self.hashes.run(lambda: self.order.append(client), client, lane)
        )
        self.tasks.append(task)  # type: ignore[arg-type]  # the result is not used
        await asyncio.sleep(0)
        return task

    async def finish(self) -> list[str]:
        self.release.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        return self.order


@pytest.fixture
async def queue() -> Queue:
    made = Queue()
    await asyncio.sleep(0)
    return made


async def test_clients_have_their_turns_one_after_the_other(queue: Queue) -> None:
    for client in "aaabbc":
        await queue.join(client)
    assert await queue.finish() == list("abcaba")


async def test_a_sign_in_does_not_wait_behind_registrations(queue: Queue) -> None:
    for number in range(6):
        await queue.join(f"r{number}", "registration")
    await queue.join("a")
    await queue.join("b")
    assert (await queue.finish())[:2] == ["a", "b"]


async def test_registrations_have_turns_in_a_flood_of_sign_ins(queue: Queue) -> None:
    for number in range(3 * MAX_IN_A_ROW):
        await queue.join(f"s{number}")
    await queue.join("r", "registration")
    assert (await queue.finish()).index("r") == MAX_IN_A_ROW


async def test_whoever_has_most_makes_room_for_others(queue: Queue) -> None:
    greedy = [await queue.join("greedy") for _ in range(SHARED)]
    others = [await queue.join(f"{number}") for number in range(10)]
    assert Counter(await queue.finish())["greedy"] == SHARED - 10
    assert all(task.exception() is None for task in others)
    # The latest requests are rejected because they have waited for the shortest time.
    refused = [task.exception() for task in greedy[-10:]]
    assert all(isinstance(each, ServiceUnavailableError) for each in refused)


async def test_nobody_takes_places_from_those_who_have_as_few(queue: Queue) -> None:
    for number in range(SHARED):
        await queue.join(f"{number % (SHARED // 2)}")
    for client, refused in (("new", False), ("new", True), ("0", True)):
        await queue.join(client)
        assert isinstance(queue.tasks[-1].exception() if refused else None, Exception) == refused
    assert Counter(await queue.finish())["new"] == 1


async def test_registrations_leave_the_places_of_sign_ins_alone(queue: Queue) -> None:
    for number in range(MAX_WAITING["registration"]):
        await queue.join(f"{number}", "registration")
    one_more = await queue.join("late", "registration")
    assert isinstance(one_more.exception(), ServiceUnavailableError)
    signing_in = await queue.join("late")
    await queue.finish()
    assert signing_in.exception() is None


async def test_whoever_goes_away_loses_no_turn_of_others(queue: Queue) -> None:
    gone, stays = await queue.join("a"), await queue.join("b")
    gone.cancel()
    queue.tasks[0].cancel()
    await asyncio.sleep(0)
    # The thread continues with the hash although its caller was cancelled.
    assert queue.order == []
    assert not stays.done()
    assert await queue.finish() == ["b"]
    assert await queue.hashes.run(lambda: True, "c", "sign-in")


async def test_whoever_goes_away_at_its_turn_hands_it_on(queue: Queue) -> None:
    first, second = await queue.join("a"), await queue.join("b")
    await queue.join("c")
    queue.hashes._hand_over()
    first.cancel()
    second.cancel()
    assert await queue.finish() == ["c"]


async def test_the_networks_of_one_site_share_a_turn(context: Context) -> None:
    release = threading.Event()
    tasks = [
        await start_hash(context, f"192.0.2.{each}", release) for each in range(threads_of(context))
    ]
    tasks += [
        await start_hash(context, f"2001:db8:0:{each:x}::1", release) for each in range(SHARED)
    ]
    waiting = waiting_sign_ins(context)
    clients = [len(waiting)]
    # Other clients still get a place in the full queue.
    tasks.append(await start_hash(context, "2001:db8:1::1", release))
    clients.append(len(waiting))
    release.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert clients == [1, 2]
    assert [each for each in outcomes if each is not True] == [outcomes[-2]]


def record_result(queue: Queue, *outcomes: tuple[str, bool]) -> None:
    for client, verified in outcomes:
        queue.hashes.record_result(client, verified=verified)


async def test_known_clients_come_first_and_those_who_guess_last(queue: Queue) -> None:
    record_result(queue, ("guess", False), ("known", True))
    await queue.join("r", "registration")
    for client in ("guess", "new", "known"):
        await queue.join(client)
    assert await queue.finish() == ["known", "new", "guess", "r"]


async def test_a_known_client_may_be_wrong_twice(queue: Queue) -> None:
    wrong, right = False, True
    record_result(queue, *(("a", each) for each in (right, wrong, wrong)))
    record_result(queue, *(("b", each) for each in (right, wrong, wrong, wrong)))
    record_result(queue, *(("c", each) for each in (wrong, wrong, right)))
    for client in ("b", "new", "a", "c"):
        await queue.join(client)
    assert await queue.finish() == ["a", "c", "new", "b"]


async def test_every_lane_has_turns_in_a_flood_of_those_before(queue: Queue) -> None:
    record_result(queue, ("guess", False), *((f"k{number}", True) for number in range(60)))
    for number in range(60):
        await queue.join(f"k{number}")
    for client in ("new", "guess"):
        await queue.join(client)
    await queue.join("r", "registration")
    order = await queue.finish()
    turns = MAX_IN_A_ROW + 1
    assert [order.index(each) // turns for each in ("new", "guess", "r")] == [0, 1, 2]


async def test_so_many_clients_are_remembered(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_queue, "MAX_RECORDED", 2)
    record_result(queue, ("a", False), ("b", False), ("a", False), ("c", False))
    for client in "abc":
        await queue.join(client)
    assert await queue.finish() == list("bac")


async def test_guesses_from_a_hundred_networks_turn_no_sign_in_away(
    ada: Actor, client: Client, context: Context
) -> None:
    networks = [f"2001:db8:{number:x}::1" for number in range(threads_of(context) + SHARED + 20)]
    for network in networks:
        await guess_as(context, network)
    release = threading.Event()
    flood = [await start_hash(context, network, release) for network in networks]
    body = {"email": ada.email, "password": PASSWORD}
    signing_in = asyncio.ensure_future(client.post("/api/v1/auth/login", json=body))
    lane = waiting_sign_ins(context)
    while len(lane) != 1 and not signing_in.done():  # noqa: ASYNC110  # the queue has no event for this
        await asyncio.sleep(0.01)
    release.set()
    assert (await signing_in).status_code == 200
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    assert outcomes.count(True) == threads_of(context) + MAX_WAITING["guess"]


async def test_registrations_from_eight_networks_turn_no_sign_in_away(
    ada: Actor, client: Client, context: Context
) -> None:
    release = threading.Event()
    flood = [
        await start_hash(context, f"2001:db8:0:{number % 8}::{number:x}", release, "registration")
        for number in range(100)
    ]
    body = {"email": ada.email, "password": PASSWORD}
    signing_in = asyncio.ensure_future(client.post("/api/v1/auth/login", json=body))
    lane = waiting_sign_ins(context)
    while not lane:  # noqa: ASYNC110  # the queue has no event for this
        await asyncio.sleep(0.01)
    release.set()
    assert (await signing_in).status_code == 200
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    hashed = threads_of(context) + MAX_WAITING["registration"]
    refused = [each for each in outcomes if isinstance(each, ServiceUnavailableError)]
    assert outcomes.count(True) == hashed
    assert len(refused) == 100 - hashed


async def test_a_wait_for_a_thread_ends() -> None:
    """The wait ends before the request's time limit, so that the attempt is refunded."""
    release = threading.Event()
    queue = HashQueue(ThreadPoolExecutor(1), 1, max_wait=0.1)
    running = asyncio.create_task(queue.run(release.wait, "a", "sign-in"))
    await asyncio.sleep(0)
    with pytest.raises(ServiceUnavailableError):
        await queue.run(release.wait, "b", "sign-in")
    waiting = asyncio.create_task(queue.run(lambda: "done", "b", "sign-in"))
    await asyncio.sleep(0.02)
    release.set()
    assert await running
    assert await waiting == "done"
