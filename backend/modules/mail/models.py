from datetime import datetime

from sqlalchemy import Text
from sqlmodel import Field

from backend.db.base import Base, Identified, utc_now
from backend.integrations.email import MAX_ID


class Mail(Base, Identified, table=True):
    """A mail that stayed here."""

    __tablename__ = "mailbox"

    message_id: str = Field(max_length=MAX_ID, unique=True)
    to: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    text: str = Field(sa_type=Text)
    html: str = Field(sa_type=Text)
    created_at: datetime = Field(default_factory=utc_now)
