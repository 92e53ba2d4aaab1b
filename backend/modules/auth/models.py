from datetime import datetime
from uuid import UUID

from sqlalchemy import String
from sqlmodel import Field

from backend.db.base import Base, Identified, utc_now


class UserSession(Base, Identified, table=True):
    """A sign-in. Its end invalidates all of its tokens."""

    __tablename__ = "sessions"

    user_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", index=True)
    created_at: datetime = Field(default_factory=utc_now)
    last_used_at: datetime = Field(default_factory=utc_now)
    expires_at: datetime
    revoked_at: datetime | None = None
    ip: str | None = Field(default=None, max_length=45)
    user_agent: str | None = Field(default=None, max_length=255)
    transport: str = Field(sa_type=String(6))
    # The number of rotations of the refresh token, and the digest of the current one.
    generation: int = 0
    token_digest: bytes
    rotated_at: datetime = Field(default_factory=utc_now)
    # Maintained only with a read replica: after a write, the session reads the primary for a while.
    wrote_at: datetime | None = None
