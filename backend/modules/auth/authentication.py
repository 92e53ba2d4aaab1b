"""The authenticator of requests, which the manifest gives to the core."""

from datetime import timedelta

from sqlalchemy import func, or_, update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request

from backend.core.authorization import SAFE_METHODS
from backend.core.context import Context, context_of
from backend.core.errors import (
    AppError,
    InvalidTokenError,
    NotAuthenticatedError,
    TokenExpiredError,
)
from backend.core.principal import Principal
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
from backend.modules.auth.tokens import Claims, issuer_of
from backend.modules.users.service import permission_set


async def authenticate(request: Request) -> Principal | None:
    """The caller, or None without credentials. Bad credentials raise; they are never anonymous.

    A request with a cookie that was issued here is a request by cookie, whatever else it carries.
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
            # A page on another host needs it for its refresh and cannot read the cookie.
            error.headers[HEADER] = csrf_token_for(request, issuer.read(token).session_id)
        raise
    row = await _identity(context, claims)
    if row is None:
        raise InvalidTokenError
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
        wrote_recently=row.get("wrote_recently", False),
    )


async def _identity(context: Context, claims: Claims) -> Row | None:
    ids = {"session_id": claims.session_id, "user_id": claims.user_id}
    settings = context.settings
    if settings.database_replica_url is None:
        return await context.database.primary.first(queries.IDENTITY, **ids)
    # A write is committed at most REQUEST_TIMEOUT after its time, and a replica that is read has
    # replayed it REPLICA_MAX_LAG later; checks of the replica take up to the rest.
    seconds = settings.request_timeout + settings.replica_max_lag + 2 * CHECK_SECONDS
    window = timedelta(seconds=seconds)
    return await context.database.primary.first(queries.IDENTITY_AND_WRITES, window=window, **ids)


async def mark_write(session: AsyncSession, principal: Principal) -> None:
    """Store that this session writes, in the transaction of the write.

    At most once a second, so that parallel writes of a session rarely wait for its row.
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
    """The credential of a request to sign out.

    An access token comes before the refresh cookie, and that before `sent`, a refresh token in the
    body. Without any of them the error describes the access token.
    """
    access, cookie = access_cookie(request), refresh_cookie(request)
    refused: AppError = NotAuthenticatedError()
    try:
        # A refresh cookie names its session; a bearer token beside it may belong to another one.
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
    """The token of the Authorization header; `InvalidTokenError` for any other scheme."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise InvalidTokenError
    return token.strip()
