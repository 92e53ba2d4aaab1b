"""The record of what was done: the use cases."""

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import insert
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.origin import origin
from backend.db.base import utc_now, uuid7
from backend.modules.audit.models import AuditEvent

Outcome = Literal["success", "failure", "denied"]
_INSERT = insert(AuditEvent.__table__)  # type: ignore[attr-defined]  # set by SQLModel's metaclass


async def record(
    session: AsyncSession,
    action: str,
    *,
    target: tuple[str, UUID | str] | None = None,
    outcome: Outcome = "success",
    actor_id: UUID | None = None,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Write down what this session's transaction does, so that both are stored or neither.

    `target` is a type and an id, such as ("user", id). `actor_id` is needed only where the caller
    is not the one who is signed in. `changes` is JSON by member name, and never holds a secret.
    """
    found = origin()
    target_type, target_id = target or (None, None)
    values = {
        "id": uuid7(),
        "occurred_at": utc_now(),
        "actor_id": actor_id or found.user_id,
        "action": action,
        "target_type": target_type,
        "target_id": None if target_id is None else str(target_id),
        "outcome": outcome,
        "ip": found.ip,
        "user_agent": found.user_agent,
        "request_id": found.request_id,
        "changes": dict(changes) if changes else None,
    }
    await session.exec(_INSERT, params=values)
