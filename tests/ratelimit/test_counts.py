"""The three storages of counts agree with a model and with each other."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from backend.core.context import Context
from backend.ratelimit.memory import BUCKETS, MAX_KEYS, Memory
from backend.ratelimit.postgres import Count, PostgresCounts
from backend.ratelimit.rules import Rule, limit_result, parse_rules
from tests.examples import examples
from tests.redis_servers import RedisServer, redis_server

SECOND = 1_000_000
START = 1_800_000_000 * SECOND + 123_457
KEY = b"somebody"
Place = Callable[[int, int], Awaitable[Count]]


@dataclass
class Ledger:
    """The hits a storage has accepted; each of its results is checked against the rules."""

    rules: tuple[Rule, ...]
    accepted: list[int] = field(default_factory=list)

    def enter(self, now: int, wanted: int, count: Count) -> None:
        assert 0 <= count.passed <= wanted
        self.accepted += [now] * count.passed
        for rule, used, wait in zip(self.rules, count.used, count.waits, strict=True):
            window = rule.window * SECOND
            assert self.within(now, window) <= used <= rule.limit
            # A bucket counts until its newest hit expires, so some hits count a sixtieth longer.
            assert used <= self.within(now, window + window // BUCKETS + 1)
            assert (0 < wait <= window) if used else wait == 0
        if count.passed < wanted:
            full = zip(self.rules, count.used, strict=True)
            assert any(used == rule.limit for rule, used in full)

    def within(self, now: int, microseconds: int) -> int:
        return sum(now - microseconds < moment <= now for moment in self.accepted)


STEPS = st.lists(
    st.tuples(
        # A moment, about a bucket, about a window; None waits as long as Retry-After says.
        st.none()
        | st.integers(0, 2 * SECOND)
        | st.integers(0, 70 * SECOND)
        | st.sampled_from([10 * SECOND, 10 * SECOND - 1, SECOND // 6]),
        st.integers(1, 4),
    ),
    max_size=80,
)


@settings(deadline=None, max_examples=examples(300))
@given(STEPS, st.sampled_from(["3/10 seconds", "7/10 seconds;12/minute", "1/second;5/minute"]))
def test_no_window_exceeds_its_limit_and_retry_after_is_true(
    steps: list[tuple[int | None, int]], text: str
) -> None:
    rules = parse_rules(text)
    now = START
    memory = Memory(rules, clock=lambda: now)
    ledger = Ledger(rules)
    retry_after = 0
    for gap, wanted in steps:
        now += retry_after * SECOND if gap is None else gap
        waited = gap is None and retry_after > 0
        count = memory.hit(KEY, wanted)
        ledger.enter(now, wanted, count)
        assert count.passed or not waited
        last = limit_result(rules, count, wanted - 1)
        assert last.allowed == (count.passed == wanted)
        retry_after = last.retry_after


async def in_memory(rules: tuple[Rule, ...]) -> Place:
    moments: list[int] = []
    memory = Memory(rules, clock=lambda: moments[-1])

    async def hit(now: int, wanted: int) -> Count:
        moments.append(now)
        return memory.hit(KEY, wanted)

    return hit


async def in_postgres(rules: tuple[Rule, ...], context: Context) -> Place:
    counts = PostgresCounts("quotas")
    limits, windows = [each.limit for each in rules], [each.window for each in rules]

    async def hit(now: int, wanted: int) -> Count:
        found = await counts.hit(context.database.primary, {KEY: wanted}, limits, windows, now)
        return found[KEY]

    return hit


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
async def redis_counts(redis: RedisServer) -> AsyncIterator[Any]:
    from backend.ratelimit.redis import RedisCounts

    redis.command("FLUSHALL")
    made: list[RedisCounts] = []

    def counts(rules: tuple[Rule, ...]) -> RedisCounts:
        made.append(RedisCounts(SecretStr(redis.url), rules))
        return made[-1]

    yield counts
    for each in made:
        assert not each._away
        await each.close()


async def in_redis(rules: tuple[Rule, ...], redis_counts: Any) -> Place:
    counts = redis_counts(rules)

    async def hit(now: int, wanted: int) -> Count:
        found: Mapping[bytes, Count] = await counts.hit({KEY: wanted}, now)
        return found[KEY]

    return hit


def moments(seed: int) -> Iterator[tuple[int, int]]:
    """Bursts, trickles and pauses."""
    chance = random.Random(seed)  # noqa: S311  # must be the same each time
    now = START
    for _ in range(150):
        now += chance.choice(
            (0, 1, SECOND // 10, SECOND // 6, SECOND, 10 * SECOND - 1, 61 * SECOND)
        )
        yield now, chance.choice((1, 1, 1, 2, 5))


@pytest.mark.parametrize("seed", range(6))
async def test_all_places_say_the_same(seed: int, context: Context, redis_counts: Any) -> None:
    rules = parse_rules("7/10 seconds;30/minute;60/5 minutes")
    places = {
        "memory": await in_memory(rules),
        "postgres": await in_postgres(rules, context),
        "redis": await in_redis(rules, redis_counts),
    }
    ledger = Ledger(rules)
    for now, wanted in moments(seed):
        results = {name: await hit(now, wanted) for name, hit in places.items()}
        plain = {(each.passed, *each.used, *each.waits) for each in results.values()}
        assert len(plain) == 1, (now, wanted, results)
        ledger.enter(now, wanted, results["postgres"])
    assert len(ledger.accepted) > 100


def shared_places(rules: tuple[Rule, ...], context: Context, redis_counts: Any) -> Any:
    return (in_postgres(rules, context), in_redis(rules, redis_counts))


async def test_a_lowered_limit_says_truly_when_to_come_again(
    context: Context, redis_counts: Any
) -> None:
    for high in shared_places((Rule(5, 60),), context, redis_counts):
        hit = await high
        for second in range(5):
            assert (await hit(START + second * 2 * SECOND, 1)).passed == 1
    for low in shared_places((Rule(2, 60),), context, redis_counts):
        hit = await low
        now = START + 9 * SECOND
        refused = await hit(now, 1)
        assert (refused.passed, list(refused.used)) == (0, [5])
        now += refused.waits[0]
        assert (await hit(now - 1, 1)).passed == 0
        assert (await hit(now, 1)).passed == 1


async def test_a_clock_that_is_set_back_locks_nobody_out(
    context: Context, redis_counts: Any
) -> None:
    hour = 3600 * SECOND
    for place in shared_places((Rule(2, 60),), context, redis_counts):
        hit = await place
        assert (await hit(START + hour, 2)).passed == 2
        refused = await hit(START, 1)
        assert (refused.passed, list(refused.waits)) == (0, [60 * SECOND])
        assert (await hit(START + 59 * SECOND, 1)).passed == 0
        assert (await hit(START + 60 * SECOND, 1)).passed == 1


async def test_a_key_costs_the_same_however_high_its_limit(
    context: Context, database_url: str, redis: RedisServer, redis_counts: Any
) -> None:
    rules = (Rule(1_000_000, 60), Rule(1_000_000_000, 3600))
    now = START
    memory = Memory(rules, clock=lambda: now)
    postgres = await in_postgres(rules, context)
    in_a_redis = await in_redis(rules, redis_counts)
    for _ in range(1500):
        now += 3 * SECOND
        memory.hit(KEY, 100)
    # Fewer hits than above are enough to use all buckets.
    for second in (*range(0, 3540, 60), *range(3540, 3600)):
        moment = START + second * SECOND
        assert (await postgres(moment, 100)).passed == (await in_a_redis(moment, 100)).passed == 100
    for window in memory._keys[KEY]:
        assert len(window.at) <= BUCKETS + 2
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        found = await connection.execute("SELECT pg_column_size(q.*) FROM rate_limit_quotas q")
        row = await found.fetchone()
    # The row is small enough to be stored in its page.
    assert row is not None
    assert row[0] < 2000
    key = f"trellis:limits:{KEY.hex()}"
    size = int(redis.command("STRLEN", key).splitlines()[0].removeprefix(":"))
    assert size < 2000
    assert 0 < int(redis.command("TTL", key).splitlines()[0].removeprefix(":")) <= 3600


def test_memory_holds_so_many_keys_and_no_more() -> None:
    now = START
    memory = Memory((Rule(1, 60),), clock=lambda: now)
    for number in range(MAX_KEYS + 100):
        memory.hit(str(number).encode())
    assert len(memory) == MAX_KEYS
    # The newest keys are kept.
    assert memory.hit(str(MAX_KEYS + 99).encode()).passed == 0
    assert memory.hit(b"0").passed == 1
    # Expired entries are removed as soon as a new key is counted.
    now += 61 * SECOND
    for number in range(MAX_KEYS // 2):
        memory.hit(f"new {number}".encode())
    assert len(memory) == MAX_KEYS // 2


@pytest.mark.parametrize("table", ["quotas", "guesses"])
@pytest.mark.slow
async def test_what_has_expired_is_removed_by_the_way(
    context: Context, database_url: str, table: Any
) -> None:
    counts = PostgresCounts(table)
    reader = context.database.primary
    gone = [bytes([part]) * 2 for part in range(256)]
    await counts.hit(reader, dict.fromkeys(gone, 1), [1], [60], START - 10**15)
    kept = {bytes([part]) * 3: 1 for part in range(256)}
    await counts.hit(reader, kept, [1], [60])
    for _ in range(256):
        await counts.hit(reader, dict.fromkeys(list(kept)[:50], 1), [1], [60])
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        found = await connection.execute(f"SELECT key FROM rate_limit_{table}")  # noqa: S608
        assert {key for (key,) in await found.fetchall()} == set(kept)
