"""Sessions in tests: requests of a client, tokens, and rows of the database."""

import base64
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import jwt
import psycopg
from psycopg.rows import dict_row

from backend.db.base import utc_now
from backend.modules.auth.tokens import issuer_of
from tests.actors import PASSWORD
from tests.applications import make_context

LOGIN = "/api/v1/auth/login"
REFRESH = "/api/v1/auth/refresh"
LOGOUT = "/api/v1/auth/logout"
LOGOUT_ALL = "/api/v1/auth/logout-all"
SESSIONS = "/api/v1/auth/sessions"
ME = "/api/v1/users/me"
NO_REFRESH = (401, "REFRESH_TOKEN_INVALID")
REUSED = (401, "REFRESH_TOKEN_REUSED")
NO_ACCESS = (401, "INVALID_TOKEN")

Tokens = dict[str, Any]

# `users.sessions_valid_after` ends all earlier sessions of an account, so it is moved as well.
_AGE = """
    WITH aged AS (
        UPDATE sessions SET created_at = created_at - d, last_used_at = last_used_at - d,
            expires_at = expires_at - d, rotated_at = rotated_at - d, revoked_at = revoked_at - d
        FROM make_interval(secs => %(seconds)s) AS d
        WHERE %(session_id)s::uuid IS NULL OR id = %(session_id)s
    )
    UPDATE users SET sessions_valid_after = sessions_valid_after - d
    FROM make_interval(secs => %(seconds)s) AS d
    WHERE %(session_id)s::uuid IS NULL
"""


async def sign_in(client: httpx.AsyncClient, name: str, password: str = PASSWORD) -> Tokens:
    response = await client.post(LOGIN, json={"email": name, "password": password})
    assert response.status_code == 200, response.text
    tokens: Tokens = response.json()
    return tokens


async def refresh(
    client: httpx.AsyncClient, token: str, *, access: str | None = None
) -> httpx.Response:
    """Refresh with this token, and send the access token `access` if one is given."""
    headers = bearer(access) if access else None
    return await client.post(REFRESH, json={"refresh_token": token}, headers=headers)


async def refreshed(client: httpx.AsyncClient, token: str) -> Tokens:
    response = await refresh(client, token)
    assert response.status_code == 200, response.text
    tokens: Tokens = response.json()
    return tokens


def bearer(access_token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {access_token}"}


def outcome(response: httpx.Response) -> tuple[int, str | None]:
    """Return the status and the error code, if any."""
    return response.status_code, response.json()["error"] if response.is_error else None


async def access(client: httpx.AsyncClient, access_token: str) -> tuple[int, str | None]:
    return outcome(await client.get(ME, headers=bearer(access_token)))


def claims(access_token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(access_token, options={"verify_signature": False})
    return found


async def expired_like(url: str, access_token: str) -> str:
    """Return the same access token with an earlier time of issue."""
    context = make_context(url)
    token_claims = claims(access_token)
    issued, session_id = utc_now() - timedelta(hours=2), UUID(token_claims["sid"])
    issuer = issuer_of(context)
    made = issuer.issue(UUID(token_claims["sub"]), session_id, 0, issued=issued, ttl=3600)
    await context.database.close()
    return made


def raw(refresh_token: str) -> bytes:
    """Return the token's bytes: session id (16), generation (4), secret (32) and tag (16)."""
    return base64.urlsafe_b64decode(f"{refresh_token}=")


def encoded(content: bytes) -> str:
    """Return the refresh token with these bytes."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


async def execute(url: str, statement: str, parameters: Any = None) -> list[dict[str, Any]]:
    """Run a statement on the database and return its rows."""
    async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
        cursor = await connection.execute(statement.encode(), parameters)
        return await cursor.fetchall() if cursor.description else []


async def stored(url: str, session_id: UUID | str) -> dict[str, Any]:
    """Return the row of a session."""
    (row,) = await execute(url, "SELECT * FROM sessions WHERE id = %s", [session_id])
    return row


async def age(url: str, seconds: float, session_id: UUID | str | None = None) -> None:
    """Move all times of one session, or of all sessions and users, into the past."""
    await execute(url, _AGE, {"seconds": seconds, "session_id": session_id})


async def reuse_events(url: str) -> list[dict[str, Any]]:
    """Return the audit events of reused refresh tokens."""
    return await execute(url, "SELECT * FROM audit_events WHERE action = 'auth.refresh_reuse'")
