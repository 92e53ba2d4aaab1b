"""Reads of the mailbox, as constant statements."""

from sqlalchemy import String, bindparam, func, select
from sqlmodel import col

from backend.db.query_runner import Query
from backend.modules.mail.models import Mail

SHOWN = 200
_MAIL = (
    select(
        col(Mail.id),
        col(Mail.to),
        col(Mail.subject),
        col(Mail.text),
        col(Mail.html),
        col(Mail.created_at),
    )
    # The ids are in the order of time.
    .order_by(col(Mail.id).desc())
    .limit(SHOWN)
)
NEWEST = Query(_MAIL)
NEWEST_TO = Query(_MAIL.where(func.lower(Mail.to) == func.lower(bindparam("to", type_=String))))
