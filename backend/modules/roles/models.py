from sqlalchemy import Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field

from backend.db.base import Base, Timestamped


class Role(Base, Timestamped, table=True):
    __tablename__ = "roles"

    name: str = Field(primary_key=True, max_length=50)
    description: str | None = Field(default=None, max_length=500)
    built_in: bool = False
    permissions: list[str] = Field(sa_type=ARRAY(Text))


class Permission(Base, table=True):
    """A permission that has been seen: what is new is granted to built-in roles once."""

    __tablename__ = "permissions"

    name: str = Field(primary_key=True, max_length=101)
