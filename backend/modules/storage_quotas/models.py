from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from backend.db.base import Base


class StoredBytes(Base, table=True):
    """A part of the bytes that a user stores, which are the sum over all slots.

    Several slots prevent concurrent writes of one user from waiting for each other. A single slot
    can be negative. The user has no foreign key, because files of users count as well.
    """

    __tablename__ = "stored_bytes"

    user_id: UUID = Field(primary_key=True)
    slot: int = Field(sa_type=sa.SmallInteger, primary_key=True)
    bytes: int = Field(sa_type=sa.BigInteger)
