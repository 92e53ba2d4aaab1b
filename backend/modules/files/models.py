from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Index
from sqlmodel import Field

from backend.db.base import Base, Identified, utc_now


class StoredFile(Base, Identified, table=True):
    """A file whose content is the object `key` of the storage, which never changes.

    The owner has no foreign key, so that the module of users can have files.
    """

    __tablename__ = "files"
    __table_args__ = (Index("ix_files_owner_id_created_at_id", "owner_id", "created_at", "id"),)

    key: str = Field(max_length=43, unique=True)
    owner_id: UUID
    content_type: str = Field(max_length=100)
    size: int = Field(sa_type=sa.BigInteger)
    filename: str | None = Field(default=None, max_length=255)
    is_public: bool = False
    created_at: datetime = Field(default_factory=utc_now)
