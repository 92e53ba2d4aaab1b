"""Detection of secrets in logs, errors, audit events, jobs and mail headers.

The fixtures apply it to every test.
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

# The forms of access tokens, refresh tokens, links with tokens, password hashes and database URLs.
FORMS = re.compile(
    r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"
    r"|(?<![\w-])[\w-]{91}(?![\w-])"
    r"|#token=\w"
    r"|\$2b\$"
    r"|postgres(?:ql)?(?:\+\w+)?://"
)
# The purposes for which the code derives keys.
PURPOSES = {
    purpose
    for file in (Path(__file__).parents[1] / "backend").rglob("*.py")
    for purpose in re.findall(
        r"""(?:\.keys?\(|derive_key\([^)"]*|_KEY = )"([a-z -]+)"\)?""", file.read_text()
    )
}
TOKEN_MEMBERS = ("access_token", "refresh_token", "csrf_token")
# Stored rows, without the text of mails in the development mailbox, which contains the links.
STORED_TEXTS = """
SELECT 'audit_events', to_jsonb(each)::text FROM audit_events AS each
UNION ALL SELECT 'procrastinate_jobs', to_jsonb(each)::text FROM procrastinate_jobs AS each
UNION ALL SELECT 'mailbox', (to_jsonb(each) - 'text' - 'html' - 'links')::text FROM mailbox AS each
"""


def keys_of(secret: str) -> set[str]:
    """Return all keys derived from a SECRET_KEY, in hex, base64 and Python's notation."""
    keys = [derive_key(secret.encode(), purpose) for purpose in PURPOSES]
    return {form for key in keys for form in (key.hex(), base64.b64encode(key).decode(), str(key))}


class LeakDetector:
    """The secrets of the running test, and the leaks found."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()
        self.leaks: list[str] = []

    def start(self, *secrets: str) -> None:
        self.secrets = {*secrets}
        self.leaks = []

    def add_secrets_of(self, response: httpx.Response) -> None:
        """Add the tokens in a response to the secrets."""
        self.secrets |= {each.value for each in response.cookies.jar if each.value}
        if response.headers.get("content-type") == "application/json" and response.content:
            body = response.json()
            if isinstance(body, dict):
                tokens = (body.get(name) for name in TOKEN_MEMBERS)
                self.secrets |= {token for token in tokens if isinstance(token, str)}

    def check(self, where: str, text: str) -> None:
        if FORMS.search(text) or any(secret in text for secret in self.secrets):
            self.leaks.append(f"{where}: {text[:2000]}")

    def check_tables(self, connection: psycopg.Connection[TupleRow]) -> None:
        for table, row in connection.execute(STORED_TEXTS).fetchall():
            self.check(f"table {table}", row)

    # A processor of structlog.
    def __call__(self, _logger: Any, _method: str, event: Any) -> Any:
        self.check("log", repr(event))
        if event.get("exc_info"):
            self.check("log", traceback.format_exc())
        return event


class DetectingHandler(logging.Handler):
    """Checks the records that libraries log."""

    def __init__(self, detector: LeakDetector) -> None:
        super().__init__()
        self.detector = detector
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.detector.check("log", self.format(record))


DETECTOR = LeakDetector()
