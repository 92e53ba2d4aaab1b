from pydantic import MISSING, Field

from backend.core.schemas import Email, Schema
from backend.modules.users.schemas import ExistingPassword, MeUpdate, NewPassword


class Accepted(Schema):
    """What is answered whoever asks."""

    detail: str


class LinkRequest(Schema):
    email: Email


class LinkToken(Schema):
    token: str = Field(description="From the link; in the usual one it follows `#token=`.")


class PasswordReset(LinkToken):
    new_password: NewPassword


class PasswordChange(Schema):
    current_password: ExistingPassword
    new_password: NewPassword


class AccountUpdate(MeUpdate):
    email: Email | MISSING = Field(
        MISSING,
        description="Takes effect once it is verified. A new one needs `current_password`.",
    )
    current_password: ExistingPassword | MISSING = MISSING
