"""Audit events, read from the database."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg


@dataclass(frozen=True)
class Event:
    action: str
    actor_id: UUID | None
    target: str
    changes: dict[str, Any] | None


async def events(database_url: str, target_type: str) -> list[Event]:
    """Return the audit events of one target type in the order of writing."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = await connection.execute(
            "SELECT action, actor_id, target_id, changes FROM audit_events "
            "WHERE target_type = %s ORDER BY id",
            [target_type],
        )
        return [Event(*row) for row in await cursor.fetchall()]
