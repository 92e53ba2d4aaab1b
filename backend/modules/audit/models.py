from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from backend.db.base import Base, Identified, utc_now


class AuditEvent(Base, Identified, table=True):
    """No foreign keys: what an account did is told after the account is gone."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_occurred_at_id", "occurred_at", "id"),
        Index("ix_audit_events_actor_id_occurred_at_id", "actor_id", "occurred_at", "id"),
        Index("ix_audit_events_target_id_occurred_at_id", "target_id", "occurred_at", "id"),
    )

    occurred_at: datetime = Field(default_factory=utc_now)
    actor_id: UUID | None = None
    action: str = Field(max_length=50)
    target_type: str | None = Field(default=None, max_length=50)
    target_id: str | None = Field(default=None, max_length=255)
    outcome: str = Field(sa_type=String(7))
    ip: str | None = Field(default=None, max_length=45)
    user_agent: str | None = Field(default=None, max_length=255)
    request_id: str | None = Field(default=None, max_length=128)
    changes: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
