from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from backend.db.base import Base


class StoredBytes(Base, table=True):
    """Bytes that a user stores are the sum over their rows, of which a single one may be negative.

    Several, so that parallel writes of one user do not wait for each other.
    """

    __tablename__ = "stored_bytes"

    user_id: UUID = Field(foreign_key="users.id", primary_key=True, ondelete="CASCADE")
    slot: int = Field(sa_type=sa.SmallInteger, primary_key=True)
    bytes: int = Field(sa_type=sa.BigInteger)
