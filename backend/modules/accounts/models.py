from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from backend.db.base import Base, Identified


class MailedToken(Base, Identified, table=True):
    """A link in a mail. The token in it is derived from the id; only its digest is here.

    Until it is mailed it opens nothing and replaces no other one. Without `user_id` it is a request
    whose account the job has not looked up yet: the response must not reveal whose address it is.
    Notices of a change of address are rows as well, which have ended from the start: jobs are given
    ids, never addresses.
    """

    __tablename__ = "mailed_tokens"
    __table_args__ = (
        Index(
            "ix_mailed_tokens_live",
            "user_id",
            "purpose",
            unique=True,
            postgresql_where=text("ended_at IS NULL AND mailed_at IS NOT NULL"),
        ),
        *(
            Index(
                f"ix_mailed_tokens_left_{name}",
                name,
                "mailed_at",
                postgresql_where=text(f"mailed_at IS NOT NULL AND {name} IS NOT NULL"),
            )
            for name in ("email_key", "mailbox_key")
        ),
        Index(
            "ix_mailed_tokens_registrations",
            "email_key",
            postgresql_where=text("purpose = 'registration' AND ended_at IS NULL"),
        ),
    )

    purpose: str = Field(sa_type=String(12))
    user_id: UUID | None = Field(
        default=None, foreign_key="users.id", ondelete="CASCADE", index=True
    )
    # The recipient; `former_email` receives the notice of a change of address.
    email: str = Field(max_length=254)
    # By which accounts are found; see `addresses.account_names`.
    email_key: str = Field(sa_type=String(collation="C"))
    # Where addresses such as `name+tag@` are delivered; see `budgets`.
    mailbox_key: str | None = Field(default=None, sa_type=String(collation="C"))
    former_email: str | None = Field(default=None, max_length=254)
    digest: bytes = Field(index=True, unique=True)
    # Of the password that the token replaces, so that it ends when that changes.
    password_digest: bytes | None = None
    # Members of an account that does not exist yet.
    registration: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    created_at: datetime
    expires_at: datetime = Field(index=True)
    # The time at which the job let the mail leave, which the budget of the mailbox counts.
    mailed_at: datetime | None = None
    # Used, or replaced by a newer one.
    ended_at: datetime | None = None
