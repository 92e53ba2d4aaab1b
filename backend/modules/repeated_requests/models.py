from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from backend.db.base import Base, Identified


class StoredResponseRow(Base, Identified, table=True):
    """A stored response; `id` is a hash of the caller, the route and the key.

    `user_id` is no foreign key, so that storing a response does not lock the user's row.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        Index("ix_idempotency_keys_expires_at", "expires_at"),
        Index("ix_idempotency_keys_user_id", "user_id"),
    )

    request_hash: bytes
    user_id: UUID | None = None
    permissions: list[Any] = Field(sa_type=JSONB)
    status: int
    headers: list[Any] = Field(sa_type=JSONB)
    body: bytes
    expires_at: datetime
