"""Reads of mailed tokens, as constant statements."""

from sqlalchemy import bindparam, func, select
from sqlmodel import col

from backend.db.query_runner import Query
from backend.modules.accounts.models import MailedToken

# A token that no job has mailed is not live.
LIVE = Query(
    select(*MailedToken.__table__.c).where(  # type: ignore[attr-defined]  # set by SQLModel
        col(MailedToken.digest) == bindparam("digest"),
        col(MailedToken.ended_at).is_(None),
        col(MailedToken.expires_at) > func.now(),
        col(MailedToken.mailed_at).is_not(None),
    )
)
