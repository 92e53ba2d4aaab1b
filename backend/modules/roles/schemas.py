from typing import Annotated

from pydantic import MISSING, Field, StringConstraints

from backend.core.features import ADMIN_ROLE
from backend.core.schemas import Schema, Timestamp, Trimmed

BUILT_IN_ROLES = {
    ADMIN_ROLE: "Everything, also what modules added later declare.",
    "editor": "Writes, publishes and edits everybody's articles.",
    "member": "Own items and articles. Every new account has this role.",
    "viewer": "Reads.",
}
ROLE_NAME = r"^[a-z][a-z0-9_-]{0,49}$"
# More than an application will ever declare, and few enough to look at one by one.
MAX_PERMISSIONS = 1000

RoleName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, pattern=ROLE_NAME),
    Field(
        description="1 to 50 small letters, digits, `_` and `-`, beginning with a letter.",
        examples=["reviewer"],
    ),
]
Description = Annotated[str, Trimmed(500), Field(examples=["Reads and publishes articles."])]
Permissions = Annotated[
    list[str],
    Field(
        max_length=MAX_PERMISSIONS,
        description="Each must be one of GET /permissions, and the caller's own.",
        examples=[["articles:publish", "articles:read"]],
    ),
]


class RoleOut(Schema):
    name: str = Field(examples=["reviewer"])
    description: str | None
    permissions: list[str] = Field(examples=[["articles:publish", "articles:read"]])
    built_in: bool = Field(description="Comes with the application and cannot be deleted.")
    created_at: Timestamp
    updated_at: Timestamp


class RoleCreate(Schema):
    name: RoleName
    description: Description | None = None
    permissions: Permissions = Field(default_factory=list)


class RoleUpdate(Schema):
    description: Description | None | MISSING = MISSING
    permissions: Permissions | MISSING = MISSING


class ActionOut(Schema):
    action: str = Field(examples=["publish"])
    permission: str = Field(description="What roles hold.", examples=["articles:publish"])
    description: str


class FeatureOut(Schema):
    """The actions on one subject that can be permitted."""

    feature: str = Field(examples=["articles"])
    description: str
    actions: list[ActionOut]
