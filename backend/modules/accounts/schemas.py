from pydantic import Field

from backend.core.schemas import Email, Schema
from backend.modules.users.schemas import NewPassword


class Accepted(Schema):
    """A response that is the same for every address."""

    detail: str


class LinkRequest(Schema):
    email: Email


class LinkToken(Schema):
    token: str = Field(description="From the link; in the usual one it follows `#token=`.")


class PasswordReset(LinkToken):
    new_password: NewPassword
