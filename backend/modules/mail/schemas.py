from uuid import UUID

from backend.core.schemas import Schema, Timestamp


class MailOut(Schema):
    """A mail as it would have left; `links` are those of both its forms, each once."""

    id: UUID
    to: str
    subject: str
    text: str
    html: str
    links: list[str]
    created_at: Timestamp


class MailboxOut(Schema):
    data: list[MailOut]
