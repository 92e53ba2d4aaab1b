"""Reads of the mailbox, as constant statements."""

from sqlalchemy import String, bindparam, func
from sqlmodel import col

from backend.core.lists import select_fields
from backend.db.queries import Query
from backend.modules.mail.models import Mail
from backend.modules.mail.schemas import MailOut

SHOWN = 200
# The ids are in the order of time.
_MAIL = select_fields(Mail, MailOut, without=("links",)).order_by(col(Mail.id).desc()).limit(SHOWN)
NEWEST = Query(_MAIL)
NEWEST_TO = Query(_MAIL.where(func.lower(Mail.to) == func.lower(bindparam("to", type_=String))))
