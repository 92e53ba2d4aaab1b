"""Reads of mailed tokens, as constant statements."""

from sqlalchemy import bindparam, func, or_, select
from sqlmodel import col

from backend.db.reads import Query
from backend.modules.accounts.models import MailedToken

# A request that no job has looked at opens nothing, whoever may have guessed its token.
LIVE = Query(
    select(*MailedToken.__table__.c).where(  # type: ignore[attr-defined]  # set by SQLModel
        col(MailedToken.digest) == bindparam("digest"),
        col(MailedToken.ended_at).is_(None),
        col(MailedToken.expires_at) > func.now(),
        or_(col(MailedToken.user_id).is_not(None), col(MailedToken.purpose) == "registration"),
    )
)
