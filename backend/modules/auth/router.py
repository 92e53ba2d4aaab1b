from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Query, Request, Response

from backend.core.client_info import client_info
from backend.core.context import Context
from backend.core.errors import (
    AppError,
    CSRFError,
    InvalidTokenError,
    NotAuthenticatedError,
    TokenExpiredError,
    error_responses,
)
from backend.core.http.dependencies import CurrentContext, Reader, Session
from backend.core.http.pagination import ListParameters, Page, PageRequest
from backend.core.http.routing import Router
from backend.core.identity import CurrentPrincipal, credentials_ignored, require
from backend.core.limits import RateLimitedError
from backend.core.principal import Principal
from backend.core.schemas import Id
from backend.modules.auth import credentials, queries, rotation, service, web
from backend.modules.auth.authentication import authenticate, bearer_token
from backend.modules.auth.exceptions import (
    AccountDisabledError,
    EmailNotVerifiedError,
    InvalidCredentialsError,
    RefreshTokenInvalidError,
    RefreshTokenReusedError,
    SessionNotFoundError,
)
from backend.modules.auth.refresh_tokens import RefreshToken, read_token
from backend.modules.auth.rotation import IssuedTokens, Transport
from backend.modules.auth.schemas import (
    CookieTokens,
    Refresh,
    SessionOut,
    Tokens,
)
from backend.modules.users import service as users
from backend.modules.users.exceptions import LastAdminError, UserNotFoundError

router = Router()

SessionPage = Annotated[PageRequest, Depends(ListParameters(queries.SESSIONS, SessionOut))]


@router.post(
    "/auth/login",
    tags=["auth"],
    dependencies=[credentials_ignored],
    openapi_extra=credentials.LOGIN_BODY,
    responses=error_responses(
        InvalidCredentialsError,
        AccountDisabledError,
        EmailNotVerifiedError,
        CSRFError,
        RateLimitedError,
    ),
)
async def login(
    request: Request,
    context: CurrentContext,
    response: Response,
    transport: Annotated[
        Transport, Query(description="`cookie` for browsers: no token is in the answer then.")
    ] = "body",
) -> Tokens | CookieTokens:
    """Sign in with JSON or with the OAuth2 password form."""
    if transport == "cookie":
        web.check_origin(request)
    sent = await credentials.read_credentials(request)
    opened = await service.sign_in(context, sent.email, sent.password, client_info(), transport)
    return _token_response(response, context, opened, transport)


@router.post(
    "/auth/refresh",
    tags=["auth"],
    dependencies=[credentials_ignored],
    openapi_extra=credentials.REFRESH_SECURITY,
    responses=error_responses(
        RefreshTokenInvalidError, RefreshTokenReusedError, InvalidTokenError, CSRFError
    ),
)
async def refresh(
    request: Request, context: CurrentContext, response: Response, body: Refresh | None = None
) -> Tokens | CookieTokens:
    """Replace the refresh token of a session, in the body or in its cookie, and get new tokens.

    The token that was just replaced is answered alike for some seconds. One older than that ends
    the session. An access token that comes along must be of the same sign-in, and as old as the
    refresh token or one refresh older.
    """
    access_cookie, cookie = web.access_cookie(request), web.refresh_cookie(request)
    transport: Transport = "cookie" if cookie else "body"
    try:
        token = cookie or read_token(context, (body and body.refresh_token) or "")
        if cookie:
            web.check_csrf(request, token.session_id)
        access_token = access_cookie or bearer_token(request)
        opened = await rotation.refresh(context, token, transport, access_token=access_token)
    except AppError as error:
        # No script can take them away, and with them nothing works any more.
        if (cookie or access_cookie) and error.status == HTTPStatus.UNAUTHORIZED:
            web.clear_cookies(request)
        raise
    return _token_response(response, context, opened, transport)


def _token_response(
    response: Response, context: Context, opened: IssuedTokens, transport: Transport
) -> Tokens | CookieTokens:
    if transport == "cookie":
        return CookieTokens(
            expires_in=opened.expires_in,
            session_id=opened.session_id,
            csrf_token=web.set_cookies(response, context, opened),
        )
    return Tokens(
        access_token=opened.access_token,
        expires_in=opened.expires_in,
        refresh_token=opened.refresh_token,
        session_id=opened.session_id,
    )


@router.post(
    "/auth/logout",
    tags=["auth"],
    status_code=204,
    dependencies=[credentials_ignored],
    openapi_extra=credentials.LOGOUT_SECURITY,
    responses=error_responses(
        NotAuthenticatedError,
        InvalidTokenError,
        TokenExpiredError,
        RefreshTokenInvalidError,
        CSRFError,
    ),
)
async def logout(request: Request, context: CurrentContext, body: Refresh | None = None) -> None:
    """End this session at once, on every server.

    By whatever is left of it: an access token, the refresh cookie, or `refresh_token`.
    """
    cookies = web.access_cookie(request), web.refresh_cookie(request)
    try:
        await _end_this_session(request, context, cookies, body.refresh_token if body else None)
    except AppError as error:
        if any(cookies) and error.status == HTTPStatus.UNAUTHORIZED:
            web.clear_cookies(request)
        raise
    if any(cookies):
        web.clear_cookies(request)


async def _end_this_session(
    request: Request,
    context: Context,
    cookies: tuple[str | None, RefreshToken | None],
    sent: str | None,
) -> None:
    access_cookie, cookie = cookies
    refused: AppError = NotAuthenticatedError()
    try:
        # Beside the cookie of one session, the token of another says nothing.
        principal = await authenticate(request) if access_cookie or not cookie else None
    except (InvalidTokenError, TokenExpiredError) as error:
        refused = error
    else:
        if principal is not None:
            request.scope["principal"] = principal
            async with context.database.transaction() as session:
                await service.end_session(session, principal.user_id, principal.session_id)
            return
    if not (cookie or sent):
        raise refused
    token = cookie or read_token(context, sent or "")
    if cookie:
        web.check_csrf(request, token.session_id)
    async with context.database.transaction() as session:
        transport: Transport = "cookie" if cookie else "body"
        if not await service.end_by_refresh_token(session, token, transport):
            raise RefreshTokenInvalidError


@router.post("/auth/logout-all", tags=["auth"], status_code=204)
async def logout_all(
    request: Request, principal: CurrentPrincipal, context: CurrentContext
) -> None:
    """End all sessions of the caller."""
    # Committed here: cookies must not go with an answer that says it failed.
    async with context.database.transaction() as session:
        await service.log_out_everywhere(session, principal.user_id)
    if principal.csrf_token:
        web.clear_cookies(request)


@router.post(
    "/users/{id}/logout-all",
    tags=["auth"],
    status_code=204,
    responses=error_responses(UserNotFoundError),
)
async def log_out_user(
    id: Id, principal: Annotated[Principal, require("users:admin")], session: Session
) -> None:
    """End all sessions of a user, at once and on every server."""
    await service.log_out_somebody(session, id, by=principal)


@router.get("/auth/sessions", tags=["auth"], response_model=Page[SessionOut])
async def list_sessions(principal: CurrentPrincipal, reader: Reader, page: SessionPage) -> Response:
    """The caller's sessions that are still good."""
    return page.render(await service.list_sessions(reader, principal, page.query))


@router.delete(
    "/auth/sessions/{id}",
    tags=["auth"],
    status_code=204,
    responses=error_responses(SessionNotFoundError),
)
async def end_session(
    id: Id, request: Request, principal: CurrentPrincipal, context: CurrentContext
) -> None:
    """End one of the caller's sessions."""
    async with context.database.transaction() as session:
        if not await service.end_session(session, principal.user_id, id):
            raise SessionNotFoundError
    if principal.csrf_token and id == principal.session_id:
        web.clear_cookies(request)


@router.delete(
    "/users/me", tags=["users"], status_code=204, responses=error_responses(LastAdminError)
)
async def delete_me(request: Request, principal: CurrentPrincipal, context: CurrentContext) -> None:
    """Delete the caller's account and everything that belongs to it, at once and for good."""
    async with context.database.transaction() as session:
        await users.delete_user(session, principal.user_id, by=principal)
    if principal.csrf_token:
        web.clear_cookies(request)
