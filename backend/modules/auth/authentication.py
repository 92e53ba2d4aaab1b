"""Who is calling: the authenticator that this module gives to the core."""

from starlette.requests import Request

from backend.core.context import context_of
from backend.core.errors import (
    AppError,
    InvalidTokenError,
    NotAuthenticatedError,
    TokenExpiredError,
)
from backend.core.identity import SAFE_METHODS
from backend.core.principal import Principal
from backend.modules.auth import queries
from backend.modules.auth.refresh_tokens import RefreshToken, read_token
from backend.modules.auth.tokens import issuer_of
from backend.modules.auth.web import (
    HEADER,
    access_cookie,
    check_csrf,
    csrf_token_for,
    refresh_cookie,
)
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
            # What a page on another host, just loaded, needs for its refresh and cannot read.
            error.headers[HEADER] = csrf_token_for(request, issuer.read(token).session_id)
        raise
    row = await context.database.primary.first(
        queries.IDENTITY, session_id=claims.session_id, user_id=claims.user_id
    )
    if row is None:
        raise InvalidTokenError
    csrf = None
    if cookie:
        if request.method not in SAFE_METHODS:
            check_csrf(request, claims.session_id)
        csrf = csrf_token_for(request, claims.session_id)
    return Principal(claims.user_id, claims.session_id, permission_set(row["permissions"]), csrf)


async def presented_credential(request: Request, sent: str | None) -> Principal | RefreshToken:
    """By whom or what a request to sign out is made: whatever is left of the session.

    An access token counts before the refresh cookie, and that before `sent`, a refresh token in
    the body. Without any of them the error says what is wrong with the access token.
    """
    access, cookie = access_cookie(request), refresh_cookie(request)
    refused: AppError = NotAuthenticatedError()
    try:
        # Beside the cookie of one session, the token of another says nothing.
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
