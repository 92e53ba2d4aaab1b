"""Declarations of this module for the tests of all modules; see tests/declared.py."""

from tests.declared import PURE, Rule

RULES = (
    Rule("GET /dev/mailbox", "ignored"),
    Rule("DELETE /dev/mailbox", "ignored"),
)

OPEN: dict[str, str] = {
    "empty_mailbox": "The mailbox exists in development only.",
    "read_mailbox": "The mailbox exists in development only.",
    "render": PURE,
}
