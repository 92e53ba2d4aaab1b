"""Counts of what a key has done lately, in rows that any number of processes share.

One statement looks, decides and counts while it holds the row, so that of any number of parallel
attempts exactly as many pass as may. The table of quotas is unlogged, so its writes wait for no
disk, and a crash of the server empties it; guesses are as durable as everything else.
"""

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

import psycopg
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.errors import DatabaseUnavailableError
from backend.db.query_runner import Query, QueryRunner

Table = Literal["quotas", "guesses"]
# What has expired is removed by the way, from one of so many parts of the table at a time. So no
# more rows than the product of both are kept longer than they are needed.
PARTS = 256
KEYS_PER_SWEEP = 50


class Count(NamedTuple):
    """What was found out about a key.

    passed  how many of the hits asked for were counted
    used    hits that count now, for each rule
    waits   microseconds until one hit more will count than now, for each rule
    """

    passed: int
    used: Sequence[int]
    waits: Sequence[int]


class Statement(Query):
    """SQL as it stands, for what is no SELECT."""

    __slots__ = ()

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self._defaults = {}


class PostgresCounts:
    """One of the tables, as one process uses it."""

    def __init__(self, table: Table) -> None:
        name = f"rate_limit_{table}"
        hit = _HIT.format(table=name, unless="")
        if table == "guesses":
            hit = _HIT_OR_REFUSE.format(table=name, hit=_HIT.format(table=name, unless=_UNLESS))
        self._hit = Statement(hit)
        self._sweep = Statement(_SWEEP.format(table=name))
        self._counted = 0
        # Several processes need not begin with the same.
        self._part = random.randrange(PARTS)  # noqa: S311  # nothing secret about it

    async def hit(
        self,
        reader: QueryRunner,
        hits: Mapping[bytes, int],
        limits: Sequence[int],
        seconds: Sequence[int],
        moment: int | None = None,
    ) -> dict[bytes, Count]:
        """Count as many of each key's hits as all rules (`limits` in so many `seconds`) allow.

        A key is always used with the same windows: the hits of others are forgotten. `moment`
        (microseconds since 1970) replaces the database's clock, in tests.
        """
        rows = await reader.all(
            self._hit,
            keys=list(hits),
            hits=list(hits.values()),
            limits=limits,
            seconds=seconds,
            moment=moment,
        )
        self._counted += len(hits)
        if self._counted >= KEYS_PER_SWEEP:
            self._counted = 0
            self._part = (self._part + 1) % PARTS
            # What is counted is counted, whatever becomes of the broom.
            with suppress(psycopg.Error, DatabaseUnavailableError):
                await self.sweep(reader, self._part)
        return {row["key"]: Count(row["passed"], row["used"], row["waits"]) for row in rows}

    async def sweep(self, reader: QueryRunner, part: int) -> None:
        """Remove what has expired from this part of the table, waiting for nobody."""
        following = bytes([part + 1]) if part + 1 < PARTS else None
        await reader.all(self._sweep, low=bytes([part]), high=following)


async def refund(reader: QueryRunner, key: bytes) -> None:
    """Take back the newest hit of a guessing key."""
    await reader.all(_GIVE_BACK, key=key)


async def clear(place: QueryRunner | AsyncSession, key: bytes) -> None:
    """Forget all hits of a guessing key: at once, or in a session's transaction."""
    if isinstance(place, QueryRunner):
        await place.all(Statement(_CLEAR.replace(":key", "%(key)s")), key=key)
    else:
        await (await place.connection()).execute(text(_CLEAR), {"key": key})


# In the order of the keys, so that two batches never wait for each other. The hits asked for go
# through the column `passed`: a key without a row could not pass more than that either.
_HIT = """
INSERT INTO {table} AS kept (key, windows, passed, used, waits, expires_at)
SELECT asked.key, counted.*
FROM (
    SELECT * FROM unnest(%(keys)s::bytea[], %(hits)s::integer[]) AS each (key, hits) ORDER BY key
) AS asked,
LATERAL rate_limit_count(
    NULL, asked.hits, %(limits)s::integer[], %(seconds)s::integer[], %(moment)s::bigint
) AS counted
{unless}
ON CONFLICT (key) DO UPDATE SET (windows, passed, used, waits, expires_at) = (
    SELECT counted.* FROM rate_limit_count(
        kept.windows, excluded.passed, %(limits)s::integer[], %(seconds)s::integer[],
        %(moment)s::bigint
    ) AS counted
)
RETURNING key, passed, used, waits
"""
# The same, but a key that is known to be full is only read: a refusal then waits for no row and
# no disk, so that a flood of them costs little. What passes is looked at twice, which is why
# requests are counted without this.
_HIT_OR_REFUSE = """
WITH refused AS MATERIALIZED (
    SELECT asked.key, counted.passed, counted.used, counted.waits
    FROM unnest(%(keys)s::bytea[], %(hits)s::integer[]) AS asked (key, hits)
    JOIN {table} AS kept ON kept.key = asked.key,
    LATERAL rate_limit_count(
        kept.windows, asked.hits, %(limits)s::integer[], %(seconds)s::integer[], %(moment)s::bigint
    ) AS counted
    WHERE counted.passed = 0
), counted AS ({hit})
SELECT * FROM counted UNION ALL SELECT * FROM refused
"""
_UNLESS = "WHERE asked.key NOT IN (SELECT key FROM refused)"
# No index on the time: it would have to be changed with every hit.
_SWEEP = """
DELETE FROM {table} WHERE key IN (
    SELECT key FROM {table}
    WHERE key >= %(low)s AND (%(high)s::bytea IS NULL OR key < %(high)s)
    AND expires_at <= extract(epoch FROM clock_timestamp()) * 1000000
    FOR UPDATE SKIP LOCKED
) RETURNING key
"""
_GIVE_BACK = Statement(
    "UPDATE rate_limit_guesses SET windows = rate_limit_give_back(windows) WHERE key = %(key)s"
    " RETURNING key"
)
_CLEAR = "DELETE FROM rate_limit_guesses WHERE key = :key RETURNING key"
