import hashlib
import unicodedata
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from pydantic import MISSING, BeforeValidator, Field, PlainSerializer, StringConstraints

from backend.core.http.public_paths import public_path
from backend.core.http.strict_json import JSONRefusedError, loads
from backend.core.schemas import Email, Schema, Timestamp, Trimmed
from backend.modules.users.passwords import MAX_LENGTH

AVATAR_BYTES = 2 * 1024 * 1024
AVATAR_BODY: dict[str, Any] = {
    "requestBody": {
        "content": {
            "multipart/form-data": {
                "encoding": {"file": {"contentType": "image/png, image/jpeg, image/webp"}}
            }
        }
    }
}
# The role of accounts that are created without roles.
DEFAULT_ROLE = "member"
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
# No character decomposes into more than eight code points.
LONGEST_DECOMPOSED = 8 * MAX_LENGTH
Username = Annotated[
    str,
    StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9._-]{3,50}$"),
    Field(description="Unique without regard to case.", examples=["ada"]),
]
FullName = Annotated[str, Trimmed(255), Field(examples=["Ada Lovelace"])]


def _composed(value: Any) -> Any:
    # Compose before characters are counted: keyboards differ in how they encode an accent. A text
    # that is too long in any form stays as it is, because composing takes quadratic time.
    if not isinstance(value, str) or len(value) > LONGEST_DECOMPOSED:
        return value
    return unicodedata.normalize("NFC", value)


ExistingPassword = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_LENGTH,
        examples=["correct horse battery"],
        json_schema_extra={"format": "password"},
    ),
    BeforeValidator(_composed),
]
NewPassword = Annotated[
    ExistingPassword,
    Field(
        description=f"8 to {MAX_LENGTH} characters of any kind; the most common ones are refused.",
        # The least that PASSWORD_MIN_LENGTH may be.
        json_schema_extra={"format": "password", "minLength": 8},
    ),
]


# Statements return the path without the prefix of a proxy, which is added for clients.
AvatarPath = Annotated[str, PlainSerializer(public_path, return_type=str, when_used="json")]


class UserOut(Schema):
    id: UUID
    email: str = Field(examples=["ada@example.com"], json_schema_extra={"format": "idn-email"})
    username: str | None
    full_name: str | None
    is_active: bool
    is_verified: bool
    roles: list[str] = Field(examples=[["member"]])
    avatar_url: AvatarPath | None = Field(
        description="The address of the picture, relative to this server. It changes with the "
        "picture, and needs no sign-in.",
        examples=["/files/hG5vVd1s2m0cQx4J8YtKp7Zr9LwBnEaUfCiRoTdSgHk"],
    )
    created_at: Timestamp
    updated_at: Timestamp


class MeOut(UserOut):
    pending_email: str | None = Field(
        description="The new `email`, until it is verified.",
        json_schema_extra={"format": "idn-email"},
    )


class NewUsers(Schema):
    date: date
    count: int


class UserStatistics(Schema):
    total: int
    active: int = Field(description="Accounts that are enabled.")
    verified: int = Field(description="Accounts whose address is verified.")
    new_per_day: list[NewUsers] = Field(
        description="Accounts created on each of the last `days` days in UTC, today included and "
        "last. Deleted accounts do not count."
    )


class Author(Schema):
    """The public part of an account."""

    id: UUID
    username: str | None
    full_name: str | None


class Registration(Schema):
    email: Email
    password: NewPassword
    username: Username | None = None
    full_name: FullName | None = None


class UserCreate(Registration):
    """An account that is created for somebody else."""

    password: NewPassword | None = Field(  # type: ignore[assignment]  # registering needs one
        None,
        description="Needs every permission that the account gets, by its default role as well. "
        "Without a password, an invitation to choose one is mailed.",
    )
    is_active: bool = True
    is_verified: bool = False
    roles: list[str] | MISSING = Field(
        MISSING, description="Needs `users:admin`. Default: `member`.", max_length=50
    )


class InvitedUser(Schema):
    """An account without a password, which is mailed an invitation to choose one."""

    email: Email
    username: Username | None = None
    full_name: FullName | None = None
    is_active: bool = True
    is_verified: bool = False
    roles: list[str] | MISSING = Field(
        MISSING, description="Needs `users:admin`. Default: `member`.", max_length=50
    )


class MeUpdate(Schema):
    username: Username | None | MISSING = MISSING
    full_name: FullName | None | MISSING = MISSING


class AccountUpdate(MeUpdate):
    email: Email | MISSING = Field(
        MISSING,
        description="Takes effect once it is verified. A new one needs `current_password`.",
    )
    current_password: ExistingPassword | MISSING = MISSING


class PasswordChange(Schema):
    current_password: ExistingPassword
    new_password: NewPassword


class UserUpdate(MeUpdate):
    email: Email | MISSING = Field(
        MISSING,
        description="A change, even in spelling only, needs `users:admin`. It ends all sessions of "
        "the account and all links mailed to it; a notice is mailed to the old and the new "
        "address. Change your own address at /users/me.",
    )
    is_active: bool | MISSING = MISSING
    is_verified: bool | MISSING = Field(
        MISSING, description="Changing your own is 403: addresses are verified by a mailed link."
    )


class RolesUpdate(Schema):
    roles: list[str] = Field(max_length=50, examples=[["member", "editor"]])


def _flag(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    flag = _FLAGS.get(str(value).strip().casefold())
    if flag is None:
        raise ValueError("Must be true, false, 1, 0, yes or no.")
    return flag


def _roles(value: Any) -> Any:
    """Parse `member;editor` or a JSON list, the two forms of a list in CSV."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return loads(value.encode())
        except JSONRefusedError:
            raise ValueError("Must be names separated by ';', or a list in JSON.") from None
    return [name for name in map(str.strip, value.split(";")) if name]


Flag = Annotated[bool, BeforeValidator(_flag)]


class ImportedUser(Schema):
    email: Email
    username: Username | None = None
    full_name: FullName | None = None
    is_active: Flag = True
    is_verified: Flag = False
    roles: Annotated[list[Annotated[str, Trimmed(50)]], BeforeValidator(_roles)] = Field(
        default=[DEFAULT_ROLE], max_length=50
    )
    password_hash: str | None = None


def _version(password_hash: str | None) -> bytes:
    return hashlib.sha256((password_hash or "").encode()).digest()


NO_PASSWORD = _version(None)


@dataclass(frozen=True)
class Account:
    """An account with the fields that sign-in and mailed links need."""

    user_id: UUID
    email: str
    username: str | None
    password_hash: str | None = field(repr=False)
    is_active: bool
    is_verified: bool
    pending_email: str | None

    @property
    def has_password(self) -> bool:
        return self.password_hash is not None

    @property
    def password_version(self) -> bytes:
        """A digest that changes with the password hash; `NO_PASSWORD` without a password."""
        return _version(self.password_hash)
