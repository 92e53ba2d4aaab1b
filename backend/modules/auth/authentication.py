"""The authenticator of requests, which the manifest registers."""

from datetime import timedelta

from sqlalchemy import func, or_, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request

from backend.core.authorization import SAFE_METHODS
from backend.core.client_info import header_lines
from backend.core.context import context_of
from backend.core.errors import (
    AppError,
    InvalidTokenError,
    NotAuthenticatedError,
    TokenExpiredError,
)
from backend.core.principal import Principal
from backend.core.settings import Settings
from backend.db.connections import Timeouts
from backend.db.query_runner import Row
from backend.db.replica import CHECK_SECONDS
from backend.modules.auth import queries
from backend.modules.auth.models import UserSession
from backend.modules.auth.refresh_tokens import RefreshToken, read_token
from backend.modules.auth.session_cookies import (
    HEADER,
    access_cookie,
    check_csrf,
    csrf_token_for,
    refresh_cookie,
)
from backend.modules.auth.tokens import issuer_of
from backend.modules.users.service import permission_set


async def authenticate(request: Request) -> Principal | None:
    """Return the principal, or None without credentials; raise an error for invalid credentials.

    A cookie that was issued here takes precedence over an Authorization header.
    """
    cookie = access_cookie(request)
    token = cookie or bearer_token(request)
    if token is None:
        return None
    context = context_of(request)
    issuer = issuer_of(context)
    try:
        claims = issuer.verify(token)
    except TokenExpiredError as error:
        if cookie:
            # A page on another host needs the CSRF token to refresh, and cannot read the cookie.
            error.headers[HEADER] = csrf_token_for(request, issuer.read(token).session_id)
        raise
    has_replica = context.settings.database_replica_url is not None
    query = queries.IDENTITY_AND_WRITES if has_replica else queries.IDENTITY
    row = await context.database.primary.find(query, claims.session_id)
    if row is None or row["user_id"] != claims.user_id:
        ended = InvalidTokenError()
        if cookie:
            # The same page needs it for the refresh that removes the cookies.
            ended.headers[HEADER] = csrf_token_for(request, claims.session_id)
        raise ended
    csrf = None
    if cookie:
        if request.method not in SAFE_METHODS:
            check_csrf(request, claims.session_id)
        csrf = csrf_token_for(request, claims.session_id)
    return Principal(
        claims.user_id,
        claims.session_id,
        permission_set(row["permissions"]),
        csrf,
        has_replica and _wrote_recently(context.settings, row),
    )


def _wrote_recently(settings: Settings, identity: Row) -> bool:
    """Return whether the replica may lack writes of this session."""
    seconds: float | None = identity["seconds_since_write"]
    if seconds is None:
        return False
    # A write is committed at most REQUEST_TIMEOUT after `wrote_at`. A used replica has replayed it
    # REPLICA_MAX_LAG later; the check of the replica may be two intervals behind.
    commits_within = max(
        settings.request_timeout, settings.database_statement_timeout + Timeouts.connect
    )
    window = commits_within + settings.replica_max_lag + 2 * CHECK_SECONDS
    return seconds < window


async def mark_write(session: AsyncSession, principal: Principal) -> None:
    """Store the time of a write of this session, in the transaction of the write.

    It is stored at most once a second, so that parallel writes rarely wait for the row.
    """
    moment = func.clock_timestamp()
    is_older = col(UserSession.wrote_at) < moment - timedelta(seconds=1)
    await session.exec(
        update(UserSession)
        .where(
            col(UserSession.id) == principal.session_id,
            or_(col(UserSession.wrote_at).is_(None), is_older),
        )
        .values(wrote_at=moment)
    )


async def presented_credential(request: Request, sent: str | None) -> Principal | RefreshToken:
    """Return the credential of a request to sign out.

    The first of access token, refresh cookie and `sent`, a refresh token in the body, is used.
    Without any of them, raise the error of the access token.
    """
    access, cookie = access_cookie(request), refresh_cookie(request)
    refused: AppError = NotAuthenticatedError()
    try:
        # A bearer token beside a refresh cookie may belong to another session than the cookie.
        principal = await authenticate(request) if access or not cookie else None
    except (InvalidTokenError, TokenExpiredError) as error:
        refused = error
    else:
        if principal is not None:
            request.scope["principal"] = principal
            return principal
    if cookie:
        check_csrf(request, cookie.session_id)
        return cookie
    if not sent:
        raise refused
    return read_token(context_of(request), sent)


def bearer_token(request: Request) -> str | None:
    """Return the bearer token of the request; raise `InvalidTokenError` for another scheme."""
    lines = header_lines(request.scope, b"authorization")
    if not lines:
        return None
    scheme, _, token = lines[0].decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
        raise InvalidTokenError
    return token.strip()
