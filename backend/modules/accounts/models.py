from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from backend.db.base import Base, Identified


class MailedToken(Base, Identified, table=True):
    """The token of a mailed link. It is derived from the id; only its digest is stored.

    Until it is mailed it is not valid and replaces no other token. Without `user_id` it is a
    request whose account the job has not looked up yet: the response must not depend on whether
    there is one. Notices of a change of address are rows as well, ended from the start, because
    arguments of jobs are ids and never addresses.
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
    # The key of the recipient; see `addresses.account_names`.
    email_key: str = Field(sa_type=String(collation="C"))
    # The key of the mailbox of addresses such as `name+tag@`; see `mail_limits`.
    mailbox_key: str | None = Field(default=None, sa_type=String(collation="C"))
    former_email: str | None = Field(default=None, max_length=254)
    digest: bytes = Field(index=True, unique=True)
    # Digest of the password that the token replaces: a changed password ends the token.
    password_digest: bytes | None = None
    # Fields of the account that a registration creates.
    registration: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    created_at: datetime
    expires_at: datetime = Field(index=True)
    # When the job sent the mail; the limits count rows by it.
    mailed_at: datetime | None = None
    # When the token was used, or replaced by a newer one.
    ended_at: datetime | None = None
