"""Declarations of this module for the tests of all modules; see tests/declared.py."""

from tests.declared import OWN, PURE, Rule

RULES = (Rule("GET /api/v1/audit-events", "audit:read"),)

OPEN: dict[str, str] = {
    "changes_of": PURE,
    "export_events": OWN,
    "keep_events": PURE,
    "record": "A service records what it does for its caller.",
    "record_all": "A service records what it does for its caller.",
    "record_delete": "A service records what it does for its caller.",
    "record_update": "A service records what it does for its caller.",
}
