from contextlib import suppress
from ipaddress import ip_address
from typing import Annotated

from fastapi import Depends, Request, Response

from backend.core.dependencies import CurrentContext, ReadSession, Session
from backend.core.errors import documented
from backend.core.identity import CurrentPrincipal, credentials_ignored, public
from backend.core.pagination import ListParameters, Page, PageRequest
from backend.core.routing import Router
from backend.core.schemas import Id
from backend.modules.auth import queries, service
from backend.modules.auth.credentials import LOGIN_BODY, read_credentials
from backend.modules.auth.exceptions import (
    AccountDisabledError,
    InvalidCredentialsError,
    SessionNotFoundError,
)
from backend.modules.auth.schemas import PasswordChange, SessionOut, Tokens
from backend.modules.users import service as users
from backend.modules.users.exceptions import (
    CurrentPasswordWrongError,
    EmailAlreadyExistsError,
    UsernameAlreadyExistsError,
)
from backend.modules.users.schemas import Registration, UserOut

router = Router(tags=["auth"])
SessionPage = Annotated[PageRequest, Depends(ListParameters(queries.SESSIONS, SessionOut))]


@router.post(
    "/auth/register",
    status_code=201,
    dependencies=[public],
    responses=documented(EmailAlreadyExistsError, UsernameAlreadyExistsError),
)
async def register(context: CurrentContext, response: Response, new: Registration) -> UserOut:
    """Make an account. Nobody is signed in by it."""
    names = (new.email, new.username)
    password_hash = await users.accept_password(context, new.password, names=names)
    async with context.database.transaction() as session:
        user = await users.create_user(
            session, password_hash=password_hash, **new.model_dump(exclude={"password"})
        )
    response.headers["Location"] = f"/api/v1/users/{user.id}"
    return user


@router.post(
    "/auth/login",
    dependencies=[credentials_ignored],
    openapi_extra=LOGIN_BODY,
    responses=documented(InvalidCredentialsError, AccountDisabledError),
)
async def login(request: Request, context: CurrentContext) -> Tokens:
    """Sign in with JSON or with the OAuth2 password form."""
    credentials = await read_credentials(request)
    client = service.Client(
        ip=_address(request),
        user_agent=request.headers.get("user-agent", "")[:255] or None,
    )
    return await service.sign_in(context, credentials.email, credentials.password, client)


@router.post("/auth/logout", status_code=204)
async def logout(principal: CurrentPrincipal, session: Session) -> None:
    """End this session at once, on every server."""
    await service.end_session(session, principal.user_id, principal.session_id)


@router.post("/auth/logout-all", status_code=204)
async def logout_all(principal: CurrentPrincipal, session: Session) -> None:
    """End all sessions of the caller."""
    await service.end_sessions(session, principal.user_id)


@router.get("/auth/sessions", response_model=Page[SessionOut])
async def list_sessions(
    principal: CurrentPrincipal, reads: ReadSession, page: SessionPage
) -> Response:
    """The caller's sessions that are still good."""
    return page.of(await service.list_sessions(reads, principal, page.query))


@router.delete("/auth/sessions/{id}", status_code=204, responses=documented(SessionNotFoundError))
async def end_session(id: Id, principal: CurrentPrincipal, session: Session) -> None:
    """End one of the caller's sessions."""
    if not await service.end_session(session, principal.user_id, id):
        raise SessionNotFoundError


@router.put("/users/me/password", status_code=204, responses=documented(CurrentPasswordWrongError))
async def change_password(
    principal: CurrentPrincipal, context: CurrentContext, change: PasswordChange
) -> None:
    """Replace the caller's password; their other sessions end."""
    await service.change_password(context, principal, change)


def _address(request: Request) -> str | None:
    # Some servers put into it whatever a forwarding header says.
    with suppress(ValueError):
        return str(ip_address(request.client.host)) if request.client else None
    return None
