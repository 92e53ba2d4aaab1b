"""Declarations of this module for the tests of all modules; see tests/declared.py."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from backend.core.client_info import ClientInfo
from backend.core.context import Context
from backend.modules.auth import service as auth
from backend.modules.auth.exceptions import SessionNotFoundError
from tests.actors import PASSWORD, Actor
from tests.declared import EVERYTHING, NEVER, OWN, PURE, Case, Make, Place, Rule


async def session_of_owner(place: Place) -> Mapping[str, Any]:
    return {"session_id": place.owner.session_id}


async def session_of(context: Context, owner: Actor) -> UUID:
    opened = await auth.sign_in(context, owner.email, PASSWORD, ClientInfo())
    return opened.session_id


THINGS: dict[str, Make] = {r"/api/v1/auth/sessions.*": session_of}
RULES = (
    Rule("POST /api/v1/auth/login", "ignored"),
    Rule("POST /api/v1/auth/refresh", "ignored"),
    Rule("POST /api/v1/auth/logout", "ignored"),
    Rule("POST /api/v1/auth/logout-all", "signed in"),
    Rule("GET /api/v1/auth/sessions", "signed in", others=NEVER),
    Rule("DELETE /api/v1/auth/sessions/{id}", "signed in", others=NEVER),
)
CASES: dict[str, Case] = {
    "end_session": Case(session_of_owner, EVERYTHING, SessionNotFoundError),
}
OPEN: dict[str, str] = {
    "export_sessions": OWN,
    "list_sessions": OWN,
    "log_out": "The session or its refresh token is the credential.",
    "log_out_everywhere": OWN,
    "needs_verified_email": PURE,
    "refresh": "The refresh token is the credential.",
    "sign_in": "The password is the credential.",
}
