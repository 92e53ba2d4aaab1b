"""Refreshing a session: each refresh token is good once, and its reuse ends the session.

The immediate predecessor is answered for a few seconds with the same successor: several tabs
refresh at once, and an answer may be lost on its way.
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
    """The tokens for the client. `lasts`: the longest time left to the session, in seconds."""

    session_id: UUID
    access_token: str
    expires_in: int
    refresh_token: str
    lasts: int


def issue_tokens(
    context: Context, user_id: UUID, token: RefreshToken, *, now: datetime, expires_at: datetime
) -> IssuedTokens:
    """The tokens of a session whose refresh token is `token` from now on."""
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
    """Replace the session's refresh token.

    `access_token`, if one came along, must be of the same generation or of the one before: of two
    tabs that share the refresh token, one still holds the older. It may have expired.
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
    """Locks by session, for the requests of this application."""
    return WeakValueDictionary()


async def _refreshed(
    context: Context, token: RefreshToken, transport: Transport
) -> IssuedTokens | None:
    """None if a parallel request has just rotated the token, which is the predecessor now."""
    grace = timedelta(seconds=context.settings_of(AuthSettings).refresh_grace)
    found = await context.database.primary.first(
        queries.REFRESHABLE, session_id=token.session_id, grace=grace
    )
    if found is None or found["transport"] != transport:
        raise RefreshTokenInvalidError
    user_id, digest = found["user_id"], found["token_digest"]
    if hmac.compare_digest(token.digest, digest):
        return await _rotate(context, user_id, token)
    if found["in_grace"]:
        for key in context.keys("refresh tokens"):
            successor = token.successor(key)
            if hmac.compare_digest(successor.digest, digest):
                expires_at = found["expires_at"]
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
                # The row's lock lets one of many through; the others find another digest.
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
