from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, String, Uuid
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field

from backend.db.base import Base, Identified, utc_now


class AuditEvent(Base, Identified, table=True):
    """An event. Without foreign keys, so that it outlives the account that caused it."""

    __tablename__ = "audit_events"
    __table_args__ = (
        CheckConstraint("outcome IN ('success', 'failure', 'denied')", name="outcome"),
        Index("ix_audit_events_occurred_at_id", "occurred_at", "id"),
        Index("ix_audit_events_actor_id_occurred_at_id", "actor_id", "occurred_at", "id"),
        Index("ix_audit_events_action_occurred_at_id", "action", "occurred_at", "id"),
        Index("ix_audit_events_target_id_occurred_at_id", "target_id", "occurred_at", "id"),
        Index("ix_audit_events_ip_occurred_at_id", "ip", "occurred_at", "id"),
        Index("ix_audit_events_request_id_occurred_at_id", "request_id", "occurred_at", "id"),
        Index("ix_audit_events_outcome_occurred_at_id", "outcome", "occurred_at", "id"),
        Index("ix_audit_events_target_type_occurred_at_id", "target_type", "occurred_at", "id"),
        Index("ix_audit_events_user_agent_occurred_at_id", "user_agent", "occurred_at", "id"),
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


class AuditWaiting(Base, table=True):
    """Events that no seal holds yet, each written by the statement that wrote the event.

    An order among events, by clock or by sequence, could not stand in for this: a transaction
    that began earlier may commit later, and its events would be passed over.
    """

    __tablename__ = "audit_waiting"

    event_id: UUID = Field(primary_key=True)


class AuditSeal(Base, table=True):
    """A link of the chain: what some events are, signed, and which seal came before.

    first_kept       number of the oldest seal that retention has left; older ones were removed
    event_digests    32 bytes for each of `event_ids`, in that order
    previous_digest  None in the first seal, and in one whose predecessor could not be trusted
    """

    __tablename__ = "audit_seals"

    number: int = Field(
        sa_type=BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False}
    )
    sealed_at: datetime
    first_kept: int = Field(sa_type=BigInteger)
    event_ids: list[UUID] = Field(sa_type=ARRAY(Uuid))
    event_digests: bytes
    previous_digest: bytes | None = None
    digest: bytes
    signature: bytes
    key_id: str = Field(max_length=16)
