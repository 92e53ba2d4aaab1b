from uuid import UUID

from pydantic import Field

from backend.core.schemas import Email, Schema, Timestamp
from backend.modules.users.schemas import NewPassword


class Accepted(Schema):
    """A response that is the same for every address."""

    detail: str


class MailedLinkOut(Schema):
    """A link that was requested for an account, without its token."""

    id: UUID
    purpose: str = Field(examples=["reset"])
    email: str = Field(json_schema_extra={"format": "idn-email"})
    created_at: Timestamp
    mailed_at: Timestamp | None
    expires_at: Timestamp
    ended_at: Timestamp | None = Field(description="When it was used or replaced.")


class LinkRequest(Schema):
    email: Email


class LinkToken(Schema):
    token: str = Field(description="From the link; in the usual one it follows `#token=`.")


class PasswordReset(LinkToken):
    new_password: NewPassword
