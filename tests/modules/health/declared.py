"""Declarations of this module for the tests of all modules; see tests/declared.py."""

from tests.declared import Rule

RULES = (
    Rule("GET /health", "ignored"),
    Rule("GET /health/live", "ignored"),
    Rule("GET /health/ready", "ignored"),
)
OPEN: dict[str, str] = {
    "readiness": "Probes are anonymous.",
}
