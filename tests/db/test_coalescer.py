"""Concurrent loads share a round trip, and no load returns a value from before it began."""

import asyncio
from collections.abc import Mapping

import pytest

from backend.db.coalescer import Coalescer


class Place:
    """A `send` that returns once `open` is set; its values hold the number of the call."""

    def __init__(self) -> None:
        self.asked: list[dict[str, int]] = []
        self.open = asyncio.Event()

    async def send(self, questions: Mapping[str, int]) -> dict[str, str]:
        self.asked.append(dict(questions))
        number = len(self.asked)
        await self.open.wait()
        if "broken" in questions:
            raise OSError(number)
        return {key: f"{key} {number}" for key in questions}


async def test_who_asks_meanwhile_shares_the_next_round_trip() -> None:
    place = Place()
    coalescer = Coalescer(place.send)
    first = asyncio.ensure_future(coalescer.load("a"))
    await asyncio.sleep(0)
    later = asyncio.gather(*(coalescer.load(key) for key in "aab"))
    await asyncio.sleep(0)
    place.open.set()
    assert await first == ("a 1", 0)
    assert await later == [("a 2", 0), ("a 2", 1), ("b 2", 0)]
    assert place.asked == [{"a": 1}, {"a": 2, "b": 1}]
    assert await coalescer.load("a") == ("a 3", 0)


async def test_a_failure_is_that_of_all_who_share_it() -> None:
    place = Place()
    place.open.set()
    coalescer = Coalescer(place.send)
    found = await asyncio.gather(
        *(coalescer.load(key) for key in ("broken", "a")), return_exceptions=True
    )
    assert [type(each) for each in found] == [OSError, OSError]
    assert await coalescer.load("a") == ("a 2", 0)


async def test_who_gives_up_takes_nobody_along() -> None:
    place = Place()
    coalescer = Coalescer(place.send)
    first = asyncio.ensure_future(coalescer.load("a"))
    await asyncio.sleep(0)
    second, third = (asyncio.ensure_future(coalescer.load("a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()
    place.open.set()
    assert await third == ("a 2", 1)
    with pytest.raises(asyncio.CancelledError):
        await first
