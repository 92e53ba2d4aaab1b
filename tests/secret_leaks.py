"""Secrets of tests, watched for wherever none may be: logs, errors, audit, jobs, mail headers.

Every test that goes through the usual fixtures is also a test of this.
"""

import base64
import logging
import re
import traceback
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import TupleRow

from backend.core.security import derive_key

# Kinds by their form: access tokens, refresh tokens, links with tokens, password hashes, URLs of
# databases.
FORMS = re.compile(
    r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"
    r"|(?<![\w-])[\w-]{91}(?![\w-])"
    r"|#token=\w"
    r"|\$2b\$"
    r"|postgres(?:ql)?(?:\+\w+)?://"
)
# What keys are derived for, as the code says it.
PURPOSES = {
    purpose
    for file in (Path(__file__).parents[1] / "backend").rglob("*.py")
    for purpose in re.findall(
        r"""(?:\.keys?\(|derive_key\([^)"]*|_KEY = )"([a-z -]+)"\)?""", file.read_text()
    )
}
TOKEN_MEMBERS = ("access_token", "refresh_token", "csrf_token")
# What is written down, without the text of mails to developers: that has to hold the links.
WRITTEN = """
SELECT 'audit_events', to_jsonb(each)::text FROM audit_events AS each
UNION ALL SELECT 'procrastinate_jobs', to_jsonb(each)::text FROM procrastinate_jobs AS each
UNION ALL SELECT 'mailbox', (to_jsonb(each) - 'text' - 'html' - 'links')::text FROM mailbox AS each
"""


def keys_of(secret: str) -> set[str]:
    """All keys derived from a SECRET_KEY, in the forms that somebody might write them in."""
    keys = [derive_key(secret.encode(), purpose) for purpose in PURPOSES]
    return {form for key in keys for form in (key.hex(), base64.b64encode(key).decode(), str(key))}


class Watch:
    """The secrets of the test that runs, and where they were seen."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()
        self.leaks: list[str] = []

    def begin(self, *secrets: str) -> None:
        self.secrets = {*secrets}
        self.leaks = []

    def learn(self, response: httpx.Response) -> None:
        """Remember the tokens that an answer gives out."""
        self.secrets |= set(response.cookies.values())
        if response.headers.get("content-type") == "application/json" and response.content:
            body = response.json()
            if isinstance(body, dict):
                found = (body.get(name) for name in TOKEN_MEMBERS)
                self.secrets |= {each for each in found if isinstance(each, str)}

    def look(self, where: str, text: str) -> None:
        found = FORMS.search(text)
        if found or any(secret in text for secret in self.secrets):
            self.leaks.append(f"{where}: {text[:2000]}")

    def look_at_tables(self, connection: psycopg.Connection[TupleRow]) -> None:
        for table, row in connection.execute(WRITTEN).fetchall():
            self.look(f"table {table}", row)

    # As a processor of structlog.
    def __call__(self, _logger: Any, _method: str, event: Any) -> Any:
        self.look("log", repr(event))
        if event.get("exc_info"):
            self.look("log", traceback.format_exc())
        return event


class WatchingHandler(logging.Handler):
    """For what libraries log."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.watch.look("log", self.format(record))


WATCH = Watch()
