"""Temporary values in PostgreSQL, which all processes share.

The table is unlogged: its writes do not wait for the disk, and a crash or failover of the server
empties it, as a restart empties Redis.
"""

from backend.db.queries import Statement
from backend.db.query_runner import QueryRunner


class PostgresTemporary:
    """A store of values with an expiry, by key."""

    def __init__(self, primary: QueryRunner) -> None:
        self._primary = primary

    async def set(self, key: str, value: bytes, seconds: float) -> None:
        """Store a value that expires after so many seconds, in place of an earlier one."""
        await self._primary.all(_SET, key=key, value=value, seconds=seconds)

    async def get(self, key: str) -> bytes | None:
        """Return the value, or None if it has expired or does not exist."""
        row = await self._primary.first(_GET, key=key)
        return None if row is None else row["value"]

    async def take(self, key: str) -> bytes | None:
        """Remove and return the value; of concurrent calls, only one gets it."""
        row = await self._primary.first(_TAKE, key=key)
        return row["value"] if row is not None and row["valid"] else None

    async def delete(self, key: str) -> None:
        """Remove the value if it exists."""
        await self._primary.all(_DELETE, key=key)

    async def close(self) -> None:
        """The connections belong to the database."""


# Each write also removes up to two expired rows, so their number does not grow.
_SET = Statement("""
WITH expired AS (
    DELETE FROM temporary_values WHERE key IN (
        SELECT key FROM temporary_values
        WHERE expires_at <= clock_timestamp() AND key <> %(key)s
        ORDER BY expires_at LIMIT 2 FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO temporary_values (key, value, expires_at)
VALUES (%(key)s, %(value)s, clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
RETURNING key
""")
_GET = Statement(
    "SELECT value FROM temporary_values WHERE key = %(key)s AND expires_at > clock_timestamp()"
)
_TAKE = Statement(
    "DELETE FROM temporary_values WHERE key = %(key)s"
    " RETURNING value, expires_at > clock_timestamp() AS valid"
)
_DELETE = Statement("DELETE FROM temporary_values WHERE key = %(key)s RETURNING key")
