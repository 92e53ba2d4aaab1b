"""Refusals that cannot be refunded are cached for a time."""

import asyncio
from collections.abc import Mapping

import pytest

from backend.ratelimit import quotas
from backend.ratelimit.memory import Memory
from backend.ratelimit.postgres import Count
from backend.ratelimit.quotas import CachedCounter
from backend.ratelimit.rules import Rule

KEY, OTHER = b"ada", b"bob"


class Place:
    """A storage shared by all processes, and how often this one has queried it."""

    def __init__(self, *rules: Rule) -> None:
        self.asked = 0
        self._rules = rules
        self.forget()

    def forget(self) -> None:
        self._memory = Memory(self._rules)

    async def hit(self, hits: Mapping[bytes, int]) -> dict[bytes, Count]:
        self.asked += 1
        return {key: self._memory.hit(key, wanted) for key, wanted in hits.items()}


def made(*rules: Rule) -> tuple[CachedCounter, Place]:
    place = Place(*rules)
    return CachedCounter(rules, place.hit), place


async def test_who_is_refused_is_asked_for_no_more() -> None:
    final, place = made(Rule(2, 60), Rule(9, 3600))
    allowed = [(await final.hit(KEY)).allowed for _ in range(3)]
    assert (allowed, place.asked) == ([True, True, False], 3)
    refused = [await final.hit(KEY) for _ in range(5)]
    assert place.asked == 3
    assert {(each.allowed, each.remaining, each.rule) for each in refused} == {
        (False, 0, Rule(2, 60))
    }
    assert all(59 <= each.retry_after <= 60 for each in refused)
    assert refused[-1].reset < refused[0].reset
    assert (await final.hit(OTHER)).allowed


async def test_its_end_is_the_time_that_was_told() -> None:
    final, place = made(Rule(1, 1))
    await final.hit(KEY)
    refused = await final.hit(KEY)
    assert not refused.allowed
    await asyncio.sleep(refused.retry_after)
    assert (await final.hit(KEY)).allowed
    assert place.asked == 3


async def test_it_is_asked_again_before_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "REMEMBERED_SECONDS", 0.2)
    final, place = made(Rule(1, 60))
    await final.hit(KEY)
    first = await final.hit(KEY)
    await asyncio.sleep(0.3)
    second = await final.hit(KEY)
    assert (first.allowed, second.allowed, place.asked) == (False, False, 3)
    place.forget()
    assert not (await final.hit(KEY)).allowed
    await asyncio.sleep(0.3)
    assert (await final.hit(KEY)).allowed


@pytest.mark.slow
async def test_only_so_many_are_remembered() -> None:
    final, _ = made(Rule(1, 60))
    for number in range(quotas.MAX_REFUSED + 10):
        key = number.to_bytes(4)
        await final.hit(key)
        assert not (await final.hit(key)).allowed
    assert len(final._refused) == quotas.MAX_REFUSED
