from typing import Literal
from uuid import UUID

from pydantic import Field

from backend.core.schemas import Schema, Timestamp
from backend.modules.users.schemas import ExistingPassword


class Login(Schema):
    email: str = Field(
        min_length=1,
        max_length=254,
        description="E-mail address or username.",
        examples=["ada@example.com"],
    )
    password: ExistingPassword


class FormLogin(Login):
    """The OAuth2 password form, where the name is called `username`."""

    email: str = Field(alias="username", min_length=1, max_length=254)


class Refresh(Schema):
    refresh_token: str | None = Field(
        None,
        max_length=1000,
        description="From the last sign-in or refresh. Not needed if its cookie is sent.",
    )


class SessionTokens(Schema):
    token_type: Literal["bearer"] = "bearer"
    expires_in: int = Field(description="Seconds.", examples=[1800])
    session_id: UUID = Field(description="The id of this sign-in; it is not a credential.")


class Tokens(SessionTokens):
    access_token: str = Field(description="Send as `Authorization: Bearer <token>`.")
    refresh_token: str = Field(
        description="Valid once, for `POST /auth/refresh`, which returns a new one."
    )


class CookieTokens(SessionTokens):
    """With `transport=cookie`: the tokens themselves are in cookies that no script can read."""

    csrf_token: str = Field(
        description="Send as `X-CSRF-Token` with every request but GET, HEAD and OPTIONS."
    )


class SessionOut(Schema):
    id: UUID
    created_at: Timestamp
    last_used_at: Timestamp
    expires_at: Timestamp
    ip: str | None
    user_agent: str | None
    current: bool = Field(description="Whether this request belongs to this session.")
