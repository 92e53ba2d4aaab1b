"""Sessions in cookies, and their protection against requests from other sites."""

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from starlette.requests import Request, cookie_parser
from starlette.responses import Response

from backend.core.client_info import header_lines
from backend.core.context import Context, context_of
from backend.core.errors import AppError, CSRFError
from backend.core.http.public_paths import public_path
from backend.core.settings import Settings
from backend.modules.auth.exceptions import RefreshTokenInvalidError
from backend.modules.auth.refresh_tokens import RefreshToken, read_token
from backend.modules.auth.rotation import IssuedTokens, Transport
from backend.modules.auth.tokens import issuer_of

HEADER = "X-CSRF-Token"
# Of each version of the API.
REFRESH_PATH = "/api/v{}/auth"
_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True)
class CookieNames:
    access: str
    refresh: str
    csrf: str


LOCAL = CookieNames("access_token", "refresh_token", "csrf_token")
# Browsers accept these prefixes over HTTPS only, and __Host- from the same host only.
SECURE = CookieNames("__Host-access_token", "__Secure-refresh_token", "__Host-csrf_token")


def names_of(settings: Settings) -> CookieNames:
    return LOCAL if settings.is_local else SECURE


def access_cookie(request: Request) -> str | None:
    """Return the access token of the cookies, which may have expired; None without one issued here.

    Other applications on the same host may use the same cookie name. The last token issued here is
    used: browsers send cookies of longer paths first, and the path of this cookie is `/`.
    """
    if not header_lines(request.scope, b"cookie"):
        return None
    context = context_of(request)
    tokens = _cookies(request, names_of(context.settings).access)
    issuer = issuer_of(context)
    return next((token for token in reversed(tokens) if issuer.issued(token)), None)


def refresh_cookie(request: Request) -> RefreshToken | None:
    """Return the refresh token of the cookies, valid or not; None without one issued here."""
    if not header_lines(request.scope, b"cookie"):
        return None
    context = context_of(request)
    for each in reversed(_cookies(request, names_of(context.settings).refresh)):
        with suppress(RefreshTokenInvalidError):
            return read_token(context, each)
    return None


def presented_refresh_token(request: Request, sent: str | None) -> tuple[RefreshToken, Transport]:
    """Return the refresh token of a request to refresh; a cookie takes precedence over the body.

    Raise `RefreshTokenInvalidError`, or `CSRFError` if another site may have made the request.
    """
    cookie = refresh_cookie(request)
    if cookie is None:
        return read_token(context_of(request), sent or ""), "body"
    check_csrf(request, cookie.session_id)
    return cookie, "cookie"


def transport_of(request: Request) -> Transport:
    """Return the transport of the refresh token of this request; `body` without a cookie."""
    return "cookie" if refresh_cookie(request) else "body"


def _cookies(request: Request, name: str) -> list[str]:
    """Return all values of this name in the order sent; `request.cookies` keeps only one."""
    return [
        value
        for line in request.headers.getlist("cookie")
        for pair in line.split(";")
        for cookie_name, value in cookie_parser(pair).items()
        if cookie_name == name
    ]


def set_cookies(response: Response, context: Context, issued: IssuedTokens) -> str:
    """Set the cookies of a session and return its CSRF token.

    All of them last as long as the session: an expired access token still reaches the server, whose
    error makes the page refresh.
    """
    csrf = csrf_token(context, issued.session_id)
    names = names_of(context.settings)
    values = {
        names.access: issued.access_token,
        names.refresh: issued.refresh_token,
        names.csrf: csrf,
    }
    for name, attributes in _attributes(context):
        response.set_cookie(name, values[name], max_age=issued.lasts, **attributes)
    return csrf


def clear_cookies(request: Request) -> None:
    """Clear the cookies in the response to this request, even if that is an error."""
    response = Response()
    for name, attributes in _attributes(context_of(request)):
        response.delete_cookie(name, **attributes)
    request.scope["response_headers"] += [
        header for header in response.raw_headers if header[0] == b"set-cookie"
    ]


@contextmanager
def clearing_cookies(request: Request, *, on_success: bool) -> Iterator[None]:
    """Clear the cookies if the block raises a 401: they are invalid, and no script can clear them.

    With `on_success`, also clear them if the block raises nothing.
    """
    has_cookies = access_cookie(request) or refresh_cookie(request)
    try:
        yield
    except AppError as error:
        if has_cookies and error.status == HTTPStatus.UNAUTHORIZED:
            clear_cookies(request)
        raise
    if has_cookies and on_success:
        clear_cookies(request)


def _attributes(context: Context) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and attributes of the cookies: access, refresh, CSRF.

    Each version of the API has its own routes for refreshing, and the cookie at their path.
    """
    settings = context.settings
    names = names_of(settings)
    readable = {"path": "/", "samesite": "Lax", "secure": not settings.is_local}
    hidden = {**readable, "httponly": True}
    yield names.access, hidden
    for version in context.versions:
        path = public_path(REFRESH_PATH.format(version))
        yield names.refresh, {**hidden, "path": path, "samesite": "Strict"}
    yield names.csrf, readable


def csrf_token(context: Context, session_id: UUID) -> str:
    """Return the CSRF token of a session, which is derived from its id."""
    return _csrf(context.key("csrf"), session_id)


def csrf_token_for(request: Request, session_id: UUID) -> str:
    """Return the CSRF token of the request's cookie, or the current one if that is not valid.

    A token that was made with a former key is valid as well.
    """
    context = context_of(request)
    cookies = reversed(_cookies(request, names_of(context.settings).csrf))
    own = (cookie for cookie in cookies if _is_signed(context, session_id, cookie))
    return next(own, None) or csrf_token(context, session_id)


def check_csrf(request: Request, session_id: UUID) -> None:
    """Raise `CSRFError` unless a request with cookies was made by a page that may call."""
    check_origin(request)
    context = context_of(request)
    sent = request.headers.get(HEADER, "")
    if not _is_signed(context, session_id, sent):
        raise CSRFError
    # The signature binds the token to the session; one of the cookies must equal it.
    if sent not in _cookies(request, names_of(context.settings).csrf):
        raise CSRFError


def check_origin(request: Request) -> None:
    """Raise `CSRFError` if a page of another site made the request."""
    if request.headers.get("sec-fetch-site") == "cross-site":
        raise CSRFError
    for origin in request.headers.getlist("origin"):
        if not _is_allowed(origin, request):
            raise CSRFError


def _is_allowed(origin: str, request: Request) -> bool:
    settings = context_of(request).settings
    if settings.allows_origin(origin):
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    # A proxy may terminate TLS, so the scheme of the request is not the client's.
    encrypted = parts.scheme == "https" or (settings.is_local and parts.scheme == "http")
    # Browsers omit the default port; a proxy may add it.
    host = request.headers.get("host", "").lower().removesuffix(_PORTS.get(parts.scheme, ":"))
    return encrypted and parts.netloc.lower() == host


def _is_signed(context: Context, session_id: UUID, token: str) -> bool:
    return any(
        hmac.compare_digest(token.encode(), _csrf(key, session_id).encode())
        for key in context.keys("csrf")
    )


def _csrf(key: bytes, session_id: UUID) -> str:
    return hmac.digest(key, session_id.bytes, hashlib.sha256).hex()
