"""Counts of recent hits by key, in rows of PostgreSQL that all processes share.

One statement reads, decides and counts while it holds the row, so parallel attempts never exceed a
limit. The table of quotas is unlogged: its writes do not wait for the disk, and a crash of the
server empties it. The table of guesses is durable.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

import psycopg
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.errors import DatabaseUnavailableError
from backend.db.queries import Statement
from backend.db.query_runner import QueryRunner

Table = Literal["quotas", "guesses"]
# Expired rows are removed while counting, from one of 256 parts of the table after each 50 keys. At
# most the product of both numbers of rows is kept longer than needed.
PARTS = 256
KEYS_PER_SWEEP = 50


class Count(NamedTuple):
    """The counts of a key.

    passed  number of the requested hits that were counted
    used    hits in the window, for each rule
    waits   microseconds until the oldest hits leave the window, for each rule
    """

    passed: int
    used: Sequence[int]
    waits: Sequence[int]


class PostgresCounts:
    """Counts in one of the two tables."""

    def __init__(self, table: Table) -> None:
        name = f"rate_limit_{table}"
        hit = _HIT.format(table=name, unless="")
        if table == "guesses":
            hit = _HIT_OR_REFUSE.format(table=name, hit=_HIT.format(table=name, unless=_UNLESS))
        self._hit = Statement(hit)
        self._sweep = Statement(_SWEEP.format(table=name))
        self._counted = 0
        # Processes begin with different parts.
        self._part = random.randrange(PARTS)  # noqa: S311  # not a secret

    async def hit(
        self,
        reader: QueryRunner,
        hits: Mapping[bytes, int],
        limits: Sequence[int],
        seconds: Sequence[int],
        moment: int | None = None,
    ) -> dict[bytes, Count]:
        """Count as many of each key's hits as all rules (`limits` in `seconds`) allow.

        A key must always be used with the same windows; hits of other windows are discarded.
        `moment` (microseconds since 1970) replaces the clock of the database in tests.
        """
        rows = await reader.all(
            self._hit,
            keys=_array(f'"\\\\x{key.hex()}"' for key in hits),
            hits=_array(map(str, hits.values())),
            limits=_array(map(str, limits)),
            seconds=_array(map(str, seconds)),
            moment=moment,
        )
        self._counted += len(hits)
        if self._counted >= KEYS_PER_SWEEP:
            self._counted = 0
            self._part = (self._part + 1) % PARTS
            # The hits are counted already, so a failed sweep does not matter.
            with suppress(psycopg.Error, DatabaseUnavailableError):
                await self.sweep(reader, self._part)
        return {row["key"]: Count(row["passed"], row["used"], row["waits"]) for row in rows}

    async def sweep(self, reader: QueryRunner, part: int) -> None:
        """Remove expired rows from a part of the table, except for locked ones."""
        following = bytes([part + 1]) if part + 1 < PARTS else None
        await reader.all(self._sweep, low=bytes([part]), high=following)


def _array(elements: Iterable[str]) -> str:
    """Return an array in PostgreSQL's notation; the driver takes several times as long for one."""
    return "{" + ",".join(elements) + "}"


async def refund(reader: QueryRunner, key: bytes) -> None:
    """Remove the newest hit of a key of guesses."""
    await reader.all(_GIVE_BACK, key=key)


async def clear(target: QueryRunner | AsyncSession, key: bytes) -> None:
    """Remove all hits of a key of guesses: immediately, or in the transaction of a session."""
    if isinstance(target, QueryRunner):
        await target.all(Statement(_CLEAR.replace(":key", "%(key)s")), key=key)
    else:
        await (await target.connection()).execute(text(_CLEAR), {"key": key})


# Rows are locked in the order of their keys, so two batches cannot deadlock. The column `passed`
# carries the requested hits: a key without a row cannot pass more than those.
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
# A key that has reached its limit is only read: refusals then wait for no row lock and no disk, so
# a flood of them costs little. Attempts that pass are counted twice, which is why requests are
# counted without this.
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
# The time has no index, because every hit would have to update it.
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
