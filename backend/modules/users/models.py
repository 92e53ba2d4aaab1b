from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Index, text
from sqlmodel import Field

from backend.db.base import Base, Identified, Timestamped

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class User(Base, Identified, Timestamped, table=True):
    __tablename__ = "users"
    __table_args__ = (
        Index("ix_users_email_lower", text("lower(email)"), unique=True),
        Index("ix_users_username_lower", text("lower(username)"), unique=True),
        Index("ix_users_created_at_id", "created_at", "id"),
        Index("ix_users_updated_at_id", "updated_at", "id"),
        Index("ix_users_by_username", text("coalesce(lower(username), '')"), "id"),
    )

    email: str = Field(max_length=254)
    username: str | None = Field(default=None, max_length=50)
    full_name: str | None = Field(default=None, max_length=255)
    password_hash: str | None = Field(default=None, max_length=80)
    is_active: bool = True
    is_verified: bool = False
    # What `email` becomes once its owner has shown that they read mail there.
    pending_email: str | None = Field(default=None, max_length=254)
    # Disabling an account moves this on, so that enabling it again revives no session.
    sessions_valid_after: datetime = LONG_AGO


class UserRole(Base, table=True):
    __tablename__ = "user_roles"

    user_id: UUID = Field(foreign_key="users.id", primary_key=True, ondelete="CASCADE")
    # Without a cascade: a role that somebody has cannot be deleted.
    role_name: str = Field(foreign_key="roles.name", primary_key=True, index=True, max_length=50)
