from uuid import UUID

from sqlalchemy import Index, Text
from sqlmodel import Field

from backend.db.base import Base, Identified, Timestamped


class Item(Base, Identified, Timestamped, table=True):
    __tablename__ = "items"
    # For each sort of the list: of one's own items, and of all.
    __table_args__ = (
        Index("ix_items_owner_id_created_at_id", "owner_id", "created_at", "id"),
        Index("ix_items_owner_id_updated_at_id", "owner_id", "updated_at", "id"),
        Index("ix_items_owner_id_title_id", "owner_id", "title", "id"),
        Index("ix_items_created_at_id", "created_at", "id"),
        Index("ix_items_updated_at_id", "updated_at", "id"),
        Index("ix_items_title_id", "title", "id"),
    )

    title: str = Field(max_length=255)
    description: str | None = Field(default=None, sa_type=Text)
    owner_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
