from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field

from backend.db.base import Base, Identified


class StoredResponseRow(Base, Identified, table=True):
    """A stored response; `id` is a hash of the caller, the route and the key.

    `user_id` is no foreign key, so that storing a response does not lock the user's row.
    `subject_ids` are further users whose data the response contains.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        Index("ix_idempotency_keys_expires_at", "expires_at"),
        Index("ix_idempotency_keys_user_id", "user_id"),
        Index(
            "ix_idempotency_keys_subject_ids",
            "subject_ids",
            postgresql_using="gin",
            postgresql_where=text("subject_ids IS NOT NULL"),
        ),
    )

    request_hash: bytes
    user_id: UUID | None = None
    subject_ids: list[UUID] | None = Field(default=None, sa_type=ARRAY(Uuid))
    permissions: list[Any] = Field(sa_type=JSONB)
    status: int
    headers: list[Any] = Field(sa_type=JSONB)
    body: bytes
    expires_at: datetime
