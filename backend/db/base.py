"""Base classes of tables, and the constraint naming convention."""

import secrets
import time
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import MetaData
from sqlmodel import Field, SQLModel

# Constraints without a name cannot be dropped by a later migration.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def utc_now() -> datetime:
    """Return the current time as an aware datetime in UTC."""
    return datetime.now(UTC)


def uuid7() -> UUID:
    """Return a new UUIDv7 (RFC 9562, 5.7, with method 3 for the fraction of a millisecond).

    Generated in Python because PostgreSQL has a function for it only from version 18 on.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    high = milliseconds << 16 | 0x7000 | fraction
    low = 0b10 << 62 | secrets.randbits(62)
    return UUID(int=high << 64 | low)


class Base(SQLModel):
    """Base class of all tables. Each table sets `__tablename__`, in the plural."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Identified(SQLModel):
    """A UUIDv7 primary key, generated before the row is inserted."""

    id: UUID = Field(default_factory=uuid7, primary_key=True)


class Timestamped(SQLModel):
    """Times of the row's creation and last update, in UTC."""

    created_at: datetime = Field(default_factory=utc_now)
    updated_at: datetime = Field(default_factory=utc_now, sa_column_kwargs={"onupdate": utc_now})
