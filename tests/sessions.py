"""Sessions as a client holds them, and as the database keeps them."""

import base64
from typing import Any
from uuid import UUID

import httpx
import jwt
import psycopg
from psycopg.rows import dict_row

from tests.actors import PASSWORD

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

# Their own times. That an account ends sessions is a time as well, and belongs to the users.
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
    answer = await client.post(LOGIN, json={"email": name, "password": password})
    assert answer.status_code == 200, answer.text
    tokens: Tokens = answer.json()
    return tokens


async def refresh(
    client: httpx.AsyncClient, token: str, *, access: str | None = None
) -> httpx.Response:
    """Refresh with this token, and with this access token beside it."""
    headers = bearer(access) if access else None
    return await client.post(REFRESH, json={"refresh_token": token}, headers=headers)


async def refreshed(client: httpx.AsyncClient, token: str) -> Tokens:
    answer = await refresh(client, token)
    assert answer.status_code == 200, answer.text
    tokens: Tokens = answer.json()
    return tokens


def bearer(access_token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {access_token}"}


def outcome(answer: httpx.Response) -> tuple[int, str | None]:
    """Status, and the code of an error."""
    failed = answer.status_code >= 400
    return answer.status_code, answer.json()["error"] if failed else None


async def access(client: httpx.AsyncClient, access_token: str) -> tuple[int, str | None]:
    return outcome(await client.get(ME, headers=bearer(access_token)))


def claims(access_token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(access_token, options={"verify_signature": False})
    return found


def raw(refresh_token: str) -> bytes:
    """Session id (16 bytes), generation (4), secret (32) and tag (16)."""
    return base64.urlsafe_b64decode(f"{refresh_token}=")


def spelled(content: bytes) -> str:
    """What a refresh token of this content looks like."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


async def execute(url: str, statement: str, parameters: Any = None) -> list[dict[str, Any]]:
    """Look into the database, or change it behind the application's back."""
    async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
        cursor = await connection.execute(statement.encode(), parameters)
        return await cursor.fetchall() if cursor.description else []


async def stored(url: str, session_id: UUID | str) -> dict[str, Any]:
    """The row of a session."""
    (row,) = await execute(url, "SELECT * FROM sessions WHERE id = %s", [session_id])
    return row


async def age(url: str, seconds: float, session_id: UUID | str | None = None) -> None:
    """Let this time pass for one session; without one for all, and for their users."""
    await execute(url, _AGE, {"seconds": seconds, "session_id": session_id})


async def reuses(url: str) -> list[dict[str, Any]]:
    """What is on record of reused tokens."""
    return await execute(url, "SELECT * FROM audit_events WHERE action = 'auth.refresh_reuse'")
