from datetime import datetime

from sqlmodel import Field

from backend.db.base import Base, Identified, utc_now


class ReceivedEvent(Base, Identified, table=True):
    """An event of the provider that was processed, by the provider's id."""

    __tablename__ = "payment_events"

    event_id: str = Field(max_length=255, unique=True)
    received_at: datetime = Field(default_factory=utc_now, index=True)
