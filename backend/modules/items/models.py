from uuid import UUID

from sqlalchemy import Index, Text
from sqlmodel import Field

from backend.db.base import Base, Identified, Timestamped


class Item(Base, Identified, Timestamped, table=True):
    __tablename__ = "items"
    __table_args__ = (Index("ix_items_owner_id_created_at_id", "owner_id", "created_at", "id"),)

    title: str = Field(max_length=255)
    description: str | None = Field(default=None, sa_type=Text)
    owner_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
