"""Rotation of refresh tokens: each is valid once, and its reuse ends the session.

For a few seconds, the direct predecessor yields the same successor again, because several tabs may
refresh concurrently and a response may be lost.
"""

import asyncio
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID
from weakref import WeakValueDictionary

from sqlalchemy import func, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.errors import InvalidTokenError
from backend.db.base import utc_now
from backend.modules.audit import service as audit
from backend.modules.auth import queries
from backend.modules.auth.exceptions import RefreshTokenInvalidError, RefreshTokenReusedError
from backend.modules.auth.models import UserSession
from backend.modules.auth.refresh_tokens import RefreshToken
from backend.modules.auth.settings import AuthSettings
from backend.modules.auth.tokens import issuer_of

Transport = Literal["body", "cookie"]
SessionLocks = WeakValueDictionary[UUID, asyncio.Lock]


@dataclass(frozen=True)
class IssuedTokens:
    """The tokens for the client. The session lasts at most `lasts` seconds more."""

    session_id: UUID
    access_token: str
    expires_in: int
    refresh_token: str
    lasts: int


def issue_tokens(
    context: Context, user_id: UUID, token: RefreshToken, *, now: datetime, expires_at: datetime
) -> IssuedTokens:
    """Return the tokens of a session whose current refresh token is `token`."""
    lasts = max(1, int((expires_at - now).total_seconds()))
    ttl = min(context.settings_of(AuthSettings).access_token_ttl, lasts)
    return IssuedTokens(
        session_id=token.session_id,
        access_token=issuer_of(context).issue(
            user_id, token.session_id, token.generation, issued=now, ttl=ttl
        ),
        expires_in=ttl,
        refresh_token=token.text(context.key("refresh tokens")),
        lasts=lasts,
    )


async def refresh(
    context: Context, token: RefreshToken, transport: Transport, *, access_token: str | None
) -> IssuedTokens:
    """Replace the session's refresh token and return its new tokens.

    An `access_token` in the same request may have expired, but must be of the same generation or of
    the one before, which one of two tabs that share the refresh token may still have. Raise
    `RefreshTokenInvalidError`, `RefreshTokenReusedError` or `InvalidTokenError`.
    """
    if access_token is not None:
        issuer = issuer_of(context)
        claims = issuer.read(access_token)
        generations = {token.generation, max(0, token.generation - 1)}
        if not any(issuer.is_of(claims, token.session_id, each) for each in generations):
            raise InvalidTokenError
    # Requests that wait for this lock hold no connection.
    async with context.get_or_create(_make_locks).setdefault(token.session_id, asyncio.Lock()):
        while True:
            issued = await _refreshed(context, token, transport)
            if issued is not None:
                return issued


def _make_locks(_: Context) -> SessionLocks:
    """Return the locks by session, which the requests of this application share."""
    return WeakValueDictionary()


async def _refreshed(
    context: Context, token: RefreshToken, transport: Transport
) -> IssuedTokens | None:
    """Rotate the token; return None if a concurrent request has just rotated it, to try again."""
    grace = timedelta(seconds=context.settings_of(AuthSettings).refresh_grace)
    row = await context.database.primary.first(
        queries.REFRESHABLE, session_id=token.session_id, grace=grace
    )
    if row is None or row["transport"] != transport:
        raise RefreshTokenInvalidError
    user_id, digest = row["user_id"], row["token_digest"]
    if hmac.compare_digest(token.digest, digest):
        return await _rotate(context, user_id, token)
    if row["in_grace"]:
        for key in context.keys("refresh tokens"):
            successor = token.successor(key)
            if hmac.compare_digest(successor.digest, digest):
                expires_at = row["expires_at"]
                return issue_tokens(
                    context, user_id, successor, now=utc_now(), expires_at=expires_at
                )
    async with context.database.transaction() as session:
        await _end_for_reuse(session, token.session_id, user_id)
    raise AssertionError("unreachable: the transaction raises")


async def _rotate(context: Context, user_id: UUID, token: RefreshToken) -> IssuedTokens | None:
    settings = context.settings_of(AuthSettings)
    successor = token.successor(context.key("refresh tokens"))
    idle, absolute = (
        timedelta(seconds=each)
        for each in (settings.session_idle_ttl, settings.session_absolute_ttl)
    )
    async with context.database.transaction() as session:
        replaced = await session.exec(
            update(UserSession)
            .where(
                col(UserSession.id) == token.session_id,
                # Of concurrent requests, the first to lock the row changes the digest.
                col(UserSession.token_digest) == token.digest,
                *queries.alive(),
            )
            .values(
                generation=successor.generation,
                token_digest=successor.digest,
                rotated_at=func.now(),
                wrote_at=func.now(),
                last_used_at=func.now(),
                expires_at=func.least(func.now() + idle, col(UserSession.created_at) + absolute),
            )
            .returning(col(UserSession.expires_at))
        )
        expires_at = replaced.scalar()
    if expires_at is None:
        return None
    return issue_tokens(context, user_id, successor, now=utc_now(), expires_at=expires_at)


async def _end_for_reuse(session: AsyncSession, session_id: UUID, user_id: UUID) -> None:
    ended = await session.exec(
        update(UserSession)
        .where(col(UserSession.id) == session_id, col(UserSession.revoked_at).is_(None))
        .values(revoked_at=utc_now())
    )
    if ended.rowcount:
        await audit.record(
            session,
            "auth.refresh_reuse",
            target=("session", session_id),
            outcome="denied",
            actor_id=user_id,
        )
    raise RefreshTokenReusedError
