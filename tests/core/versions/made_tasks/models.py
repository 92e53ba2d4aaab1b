from uuid import UUID

from sqlalchemy import MetaData
from sqlmodel import Field

from backend.db.base import Identified, Timestamped


class MadeTask(Identified, Timestamped, table=True):
    # Apart from the tables of the application, which other tests compare with the migrations.
    metadata = MetaData()
    __tablename__ = "made_tasks"

    text: str = Field(max_length=200)
    colour: str | None = Field(default=None, max_length=20)
    is_done: bool = False
    owner_id: UUID = Field(index=True)
