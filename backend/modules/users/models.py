from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Index, String, event, text
from sqlmodel import Field

from backend.addresses.account_names import name_key
from backend.db.base import Base, Identified, Timestamped

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
# Compared and sorted by code point: neither the locale of the database nor an update of the
# operating system's collations may change uniqueness or order.
KEY = String(collation="C")


class User(Base, Identified, Timestamped, table=True):
    __tablename__ = "users"
    __table_args__ = (
        Index("ix_users_email_key", "email_key", unique=True),
        Index("ix_users_username_key", "username_key", unique=True),
        Index("ix_users_created_at_id", "created_at", "id"),
        Index("ix_users_updated_at_id", "updated_at", "id"),
        Index("ix_users_is_active_created_at_id", "is_active", "created_at", "id"),
        Index("ix_users_is_verified_created_at_id", "is_verified", "created_at", "id"),
        Index("ix_users_by_username", text("coalesce(username_key, '')"), "id"),
    )

    email: str = Field(max_length=254)
    # `_compute_keys` sets both keys whenever the account is stored.
    email_key: str = Field(default="", sa_type=KEY)
    username: str | None = Field(default=None, max_length=50)
    username_key: str | None = Field(default=None, sa_type=KEY)
    full_name: str | None = Field(default=None, max_length=255)
    # Wide enough for hashes of other schemes that an administrator may have stored.
    password_hash: str | None = Field(default=None, max_length=255)
    is_active: bool = True
    is_verified: bool = False
    # The requested `email`, until the owner verifies it by a mailed link.
    pending_email: str | None = Field(default=None, max_length=254)
    # A public file.
    avatar_key: str | None = Field(default=None, max_length=43)
    # Set when the account is disabled, so that enabling it again does not revive old sessions.
    sessions_valid_after: datetime = LONG_AGO


@event.listens_for(User, "before_insert")
@event.listens_for(User, "before_update")
def _compute_keys(_mapper: object, _connection: object, user: User) -> None:
    user.email_key = name_key(user.email)
    user.username_key = None if user.username is None else name_key(user.username)


class UserRole(Base, table=True):
    __tablename__ = "user_roles"

    user_id: UUID = Field(foreign_key="users.id", primary_key=True, ondelete="CASCADE")
    # No cascade: a role that is assigned to a user cannot be deleted.
    role_name: str = Field(foreign_key="roles.name", primary_key=True, index=True, max_length=50)
