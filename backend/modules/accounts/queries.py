"""Reads of mailed tokens, as constant statements."""

from sqlalchemy import bindparam, func, select
from sqlmodel import col

from backend.core.lists import list_spec
from backend.db.queries import Query
from backend.modules.accounts.models import MailedToken
from backend.modules.accounts.schemas import MailedLinkOut

# A token that no job has mailed is not live.
LIVE = Query(
    select(*MailedToken.__table__.c).where(  # type: ignore[attr-defined]  # set by SQLModel
        col(MailedToken.digest) == bindparam("digest"),
        col(MailedToken.ended_at).is_(None),
        col(MailedToken.expires_at) > func.now(),
        col(MailedToken.mailed_at).is_not(None),
    )
)
MAILED_LINKS = list_spec(
    MailedToken, MailedLinkOut, scopes={"user": lambda user: col(MailedToken.user_id) == user}
)
