"""Declarations of this module for the tests of all modules; see tests/declared.py."""

from collections.abc import Mapping
from typing import Any

from tests.actors import PASSWORD
from tests.declared import PURE, Rule

RULES = (
    Rule("POST /api/v1/auth/register", "public"),
    Rule("POST /api/v1/auth/forgot-password", "ignored"),
    Rule("POST /api/v1/auth/reset-password", "ignored"),
    Rule("POST /api/v1/auth/verify-email", "ignored"),
    Rule("POST /api/v1/auth/verify-email/request", "ignored"),
)
OPEN: dict[str, str] = {
    "check_registration_open": PURE,
    "register": "REGISTRATION_MODE decides.",
    "request_link": "Answers alike for every address.",
    "reset_password": "The mailed token is the credential.",
    "verify_email": "The mailed token is the credential.",
}
REPEATABLE: dict[str, Mapping[str, Any]] = {
    "/auth/register": {"email": "new@example.com", "password": PASSWORD},
}
