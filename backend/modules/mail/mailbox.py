"""The provider of development and test: mail stays in a table instead of leaving."""

import re
from html.parser import HTMLParser

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from backend.db.base import utc_now, uuid7
from backend.db.database import Database
from backend.integrations.email import Message
from backend.modules.mail.models import Mail

KEPT = 2000
_URL = re.compile(r"https?://[^\s<>\"]+")
_AFTER_A_URL = ".,;:!?)'"


class Mailbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def send(self, message: Message) -> None:
        mail = {
            "id": uuid7(),
            "message_id": message.id,
            "to": message.to,
            "subject": message.subject,
            "text": message.text,
            "html": message.html,
            "created_at": utc_now(),
        }
        # Most developers never empty the mailbox.
        oldest_kept = select(col(Mail.id)).order_by(col(Mail.id).desc()).offset(KEPT - 1).limit(1)
        async with self._database.transaction() as session:
            await session.exec(insert(Mail).values(mail).on_conflict_do_nothing())
            await session.exec(delete(Mail).where(col(Mail.id) < oldest_kept.scalar_subquery()))


def links_of(text: str, html: str) -> list[str]:
    """Web addresses in both forms of a mail, in order, each once."""
    finder = _LinkFinder()
    finder.feed(html)
    plain = (found.rstrip(_AFTER_A_URL) for found in _URL.findall(text))
    return list(dict.fromkeys([*finder.found, *plain]))


class _LinkFinder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        target = dict(attrs).get("href") or ""
        if tag == "a" and _URL.match(target):
            self.found.append(target)
