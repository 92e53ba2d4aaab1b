from uuid import UUID

from sqlalchemy import Text
from sqlmodel import Field

from backend.db.base import Base, Identified, Timestamped
from backend.db.lists.indexes import list_indexes


class Item(Base, Identified, Timestamped, table=True):
    __tablename__ = "items"
    __table_args__ = (*list_indexes("owner_id", sorts=("created_at", "updated_at", "title")),)

    title: str = Field(max_length=255)
    description: str | None = Field(default=None, sa_type=Text)
    owner_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE")
