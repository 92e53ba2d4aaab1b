"""Counted attempts are durable and exact, and cleared after a success."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from backend.core import limits
from backend.core.context import Context
from backend.core.limits import RateLimitedError, Rule
from tests.applications import make_context

FIVE = Rule(5, 300)
NAME = "sign-in ada@example.com"


@pytest.fixture(params=["memory", "postgres"])
async def context(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Context]:
    """A context for each storage of requests; guesses are stored in the database with both."""
    made = make_context(database_url, rate_limit_enabled=True, rate_limit_storage=request.param)
    yield made
    await made.database.close()


async def passed(context: Context, times: int, key: str = NAME) -> list[bool]:
    return [(await limits.hit(context, key, FIVE)).allowed for _ in range(times)]


async def rows(url: str) -> list[Any]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        found = await connection.execute("SELECT key, used FROM rate_limit_guesses")
        return await found.fetchall()


async def test_so_many_and_no_more(context: Context) -> None:
    first = await limits.hit(context, NAME, FIVE)
    assert (first.allowed, first.remaining, first.retry_after) == (True, 4, 0)
    assert await passed(context, 6) == [True] * 4 + [False] * 2
    refused = await limits.hit(context, NAME, FIVE)
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert 295 <= refused.retry_after <= 300
    assert RateLimitedError(refused).headers == {
        "Retry-After": str(refused.retry_after),
        "RateLimit-Policy": '"5-minutes";q=5;w=300',
        "RateLimit": f'"5-minutes";r=0;t={refused.retry_after}',
    }
    assert await passed(context, 1, "somebody else") == [True]


async def test_another_process_knows(context: Context, database_url: str) -> None:
    assert await passed(context, 5) == [True] * 5
    other = make_context(database_url, rate_limit_enabled=True)
    assert await passed(other, 1) == [False]
    await other.database.close()


async def test_parallel_attempts_do_not_pass_together(context: Context) -> None:
    found = await asyncio.gather(*(limits.hit(context, NAME, FIVE) for _ in range(20)))
    assert sum(each.allowed for each in found) == 5


async def test_a_refusal_waits_for_no_row(context: Context, database_url: str) -> None:
    await passed(context, 5)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("SELECT FROM rate_limit_guesses FOR UPDATE")
        assert await passed(context, 3) == [False] * 3


async def test_all_of_several_rules_must_allow_it(context: Context) -> None:
    rules = (Rule(2, 60), Rule(3, 3600))
    found = [await limits.hit(context, NAME, *rules) for _ in range(3)]
    assert [each.allowed for each in found] == [True, True, False]
    # A hit refused by one rule does not count for the other.
    assert found[-1].retry_after <= 60


async def test_the_newest_can_be_given_back(context: Context) -> None:
    await passed(context, 6)
    await limits.refund(context, NAME)
    assert await passed(context, 2) == [True, False]
    await limits.clear(context, NAME)
    for _ in range(2):
        # A refund without hits has no effect.
        await limits.refund(context, NAME)
    assert await passed(context, 6) == [True] * 5 + [False]


async def test_giving_all_back_leaves_none(context: Context) -> None:
    await passed(context, 3)
    for _ in range(5):
        await limits.refund(context, NAME)
    assert (await limits.hit(context, NAME, FIVE)).remaining == 4


async def test_clearing_forgets_them_all(context: Context) -> None:
    await passed(context, 6)
    await passed(context, 5, "bob")
    await limits.clear(context, NAME)
    assert await passed(context, 5) == [True] * 5
    assert await passed(context, 1, "bob") == [False]


async def test_a_success_clears_in_its_own_transaction(context: Context) -> None:
    class FailedError(Exception):
        pass

    async def succeed(*, fails: bool) -> None:
        async with context.database.transaction() as session:
            await limits.clear_in(session, context, NAME)
            if fails:
                raise FailedError

    await passed(context, 5)
    with pytest.raises(FailedError):
        await succeed(fails=True)
    assert await passed(context, 1) == [False]
    await succeed(fails=False)
    assert await passed(context, 1) == [True]


async def test_names_are_stored_as_keyed_hashes(context: Context, database_url: str) -> None:
    await passed(context, 1)
    ((key, used),) = await rows(database_url)
    assert (len(key), used) == (16, [1])
    assert context.limits is not None
    assert key == context.limits.key(NAME)
    # The table alone does not allow guessing names: the hash depends on the secret key.
    other = make_context(database_url, rate_limit_enabled=True, secret_key="another" * 8)
    assert other.limits is not None
    assert other.limits.key(NAME) != key
    await other.database.close()


async def test_guesses_survive_a_crash_and_quotas_need_not(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        found = await connection.execute(
            "SELECT relname, relpersistence FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = 'public'::regnamespace AND relname LIKE 'rate_limit_%' ORDER BY 1"
        )
        assert await found.fetchall() == [("rate_limit_guesses", "p"), ("rate_limit_quotas", "u")]


async def test_without_limits_all_is_allowed(database_url: str) -> None:
    context = make_context(database_url, rate_limit_enabled=False)
    assert await passed(context, 20) == [True] * 20
    await limits.refund(context, NAME)
    await limits.clear(context, NAME)
    async with context.database.transaction() as session:
        await limits.clear_in(session, context, NAME)
    assert await rows(database_url) == []
    await context.database.close()
