from typing import Annotated

from fastapi import Query, Request, Response

from backend.core.authorization import CurrentPrincipal, credentials_ignored
from backend.core.client_info import client_info
from backend.core.context import Context
from backend.core.errors import (
    CSRFError,
    InvalidTokenError,
    NotAuthenticatedError,
    TokenExpiredError,
    error_responses,
)
from backend.core.http.dependencies import CurrentContext, Reader
from backend.core.http.pagination import list_parameters
from backend.core.http.routing import Router
from backend.core.limits import RateLimitedError
from backend.core.lists import ListQuery, Page
from backend.core.schemas import Id
from backend.modules.auth import login_body, queries, security_schemes, service, session_cookies
from backend.modules.auth.authentication import bearer_token, presented_credential
from backend.modules.auth.exceptions import (
    AccountDisabledError,
    EmailNotVerifiedError,
    InvalidCredentialsError,
    RefreshTokenInvalidError,
    RefreshTokenReusedError,
    SessionNotFoundError,
)
from backend.modules.auth.rotation import IssuedTokens, Transport
from backend.modules.auth.schemas import (
    CookieTokens,
    Refresh,
    SessionOut,
    Tokens,
)

router = Router(prefix="/auth", tags=["auth"], carries_secrets=True)

SessionQuery = Annotated[ListQuery, list_parameters(queries.SESSIONS)]


@router.post(
    "/login",
    dependencies=[credentials_ignored],
    openapi_extra=login_body.LOGIN_BODY,
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
        Transport,
        Query(description="`cookie` for browsers: tokens are cookies, not in the answer."),
    ] = "body",
) -> Tokens | CookieTokens:
    """Sign in with JSON or with the OAuth2 password form."""
    if transport == "cookie":
        session_cookies.check_origin(request)
    sent = await login_body.read_credentials(request)
    issued = await service.sign_in(context, sent.email, sent.password, client_info(), transport)
    return _token_response(response, context, issued, transport)


@router.post(
    "/refresh",
    dependencies=[credentials_ignored],
    openapi_extra=security_schemes.REFRESH_SECURITY,
    responses=error_responses(
        RefreshTokenInvalidError, RefreshTokenReusedError, InvalidTokenError, CSRFError
    ),
)
async def refresh(
    request: Request, context: CurrentContext, response: Response, body: Refresh | None = None
) -> Tokens | CookieTokens:
    """Replace the refresh token of a session, in the body or in its cookie, and get new tokens.

    For some seconds, the token that was just replaced gets the same answer; an older one ends the
    session. An access token in the same request must be of the same sign-in, and as old as the
    refresh token or one refresh older.
    """
    with session_cookies.clearing_cookies(request, on_success=False):
        token, transport = session_cookies.presented_refresh_token(
            request, body.refresh_token if body else None
        )
        access_token = session_cookies.access_cookie(request) or bearer_token(request)
        issued = await service.refresh(context, token, transport, access_token=access_token)
    return _token_response(response, context, issued, transport)


def _token_response(
    response: Response, context: Context, issued: IssuedTokens, transport: Transport
) -> Tokens | CookieTokens:
    if transport == "cookie":
        return CookieTokens(
            expires_in=issued.expires_in,
            session_id=issued.session_id,
            csrf_token=session_cookies.set_cookies(response, context, issued),
        )
    return Tokens(
        access_token=issued.access_token,
        expires_in=issued.expires_in,
        refresh_token=issued.refresh_token,
        session_id=issued.session_id,
    )


@router.post(
    "/logout",
    status_code=204,
    dependencies=[credentials_ignored],
    openapi_extra=security_schemes.LOGOUT_SECURITY,
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

    Any of its credentials will do: an access token, the refresh cookie, or `refresh_token`.
    """
    with session_cookies.clearing_cookies(request, on_success=True):
        credential = await presented_credential(request, body.refresh_token if body else None)
        await service.log_out(context, credential, session_cookies.transport_of(request))


@router.post("/logout-all", status_code=204)
async def logout_all(request: Request, by: CurrentPrincipal, context: CurrentContext) -> None:
    """End all sessions of the caller."""
    await service.log_out_everywhere(context, by)
    if by.csrf_token:
        session_cookies.clear_cookies(request)


@router.get("/sessions")
async def list_sessions(
    by: CurrentPrincipal, reader: Reader, query: SessionQuery
) -> Page[SessionOut]:
    """The caller's sessions that have not ended."""
    return await service.list_sessions(reader, by, query)


@router.delete("/sessions/{id}", status_code=204, responses=error_responses(SessionNotFoundError))
async def end_session(
    id: Id, request: Request, by: CurrentPrincipal, context: CurrentContext
) -> None:
    """End one of the caller's sessions."""
    await service.end_session(context, by, id)
    if by.csrf_token and id == by.session_id:
        session_cookies.clear_cookies(request)
