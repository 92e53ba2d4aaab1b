from functools import partial
from typing import Annotated

from fastapi import Depends, Request, Response

from backend.core.errors import PermissionDeniedError, error_responses
from backend.core.http.body_rules import also_checks
from backend.core.http.dependencies import CurrentContext, Reader, Session
from backend.core.http.pagination import (
    FieldSelection,
    ListParameters,
    Page,
    PageRequest,
    ResourceParameters,
)
from backend.core.http.routing import Router
from backend.core.identity import CurrentPrincipal, reauthorize, require
from backend.core.limits import RateLimitedError
from backend.core.principal import Principal
from backend.core.schemas import Id
from backend.modules.roles.exceptions import UnknownRoleError
from backend.modules.users import dependencies, queries, service
from backend.modules.users.exceptions import (
    CurrentPasswordWrongError,
    EmailAlreadyExistsError,
    LastAdminError,
    UsernameAlreadyExistsError,
    UserNotFoundError,
)
from backend.modules.users.schemas import (
    AccountUpdate,
    MeOut,
    PasswordChange,
    RolesUpdate,
    UserCreate,
    UserOut,
    UserUpdate,
)

# Each route names its tag: those about passwords and sessions are documented with sign-in.
router = Router(prefix="/users")
UserAnswer = Annotated[FieldSelection, Depends(ResourceParameters(UserOut))]
MeAnswer = Annotated[FieldSelection, Depends(ResourceParameters(MeOut))]
UserPage = Annotated[PageRequest, Depends(ListParameters(queries.USERS, UserOut))]
_CHANGES_ME = error_responses(
    UsernameAlreadyExistsError,
    EmailAlreadyExistsError,
    CurrentPasswordWrongError,
    RateLimitedError,
)


# `/users/me` comes before `/users/{id}`, which would take it for an id.
@router.get("/me", tags=["users"], response_model=MeOut)
async def read_me(
    principal: CurrentPrincipal, context: CurrentContext, answer: MeAnswer
) -> Response:
    """The caller's own account."""
    response = answer.render(await service.get_me(context.database.primary, principal))
    if principal.csrf_token:
        response.headers["X-CSRF-Token"] = principal.csrf_token
    return response


@router.patch(
    "/me",
    tags=["users"],
    dependencies=[also_checks(dependencies.own_account)],
    responses=_CHANGES_ME,
)
async def update_me(
    principal: CurrentPrincipal, context: CurrentContext, changes: AccountUpdate
) -> MeOut:
    """Change what is sent; `null` clears.

    A new `email` is `pending_email` until the link that is mailed there has been followed; to send
    the present one drops it. The old address is told.
    """
    return await service.update_me(context, principal, changes)


@router.put(
    "/me",
    tags=["users"],
    dependencies=[also_checks(dependencies.own_account)],
    responses=_CHANGES_ME,
)
async def replace_me(
    principal: CurrentPrincipal, context: CurrentContext, changes: AccountUpdate
) -> MeOut:
    """The same as PATCH."""
    return await service.update_me(context, principal, changes)


@router.delete("/me", tags=["users"], status_code=204, responses=error_responses(LastAdminError))
async def delete_me(principal: CurrentPrincipal, context: CurrentContext, session: Session) -> None:
    """Delete the caller's account and everything that belongs to it, at once and for good."""
    await service.delete_me(context, session, principal)


@router.put(
    "/me/password",
    tags=["auth"],
    dependencies=[also_checks(dependencies.another_password)],
    status_code=204,
    responses=error_responses(CurrentPasswordWrongError, RateLimitedError),
)
async def change_password(
    principal: CurrentPrincipal, context: CurrentContext, change: PasswordChange
) -> None:
    """Replace the caller's password; their other sessions end, and they are told by mail."""
    await service.change_password(context, principal, change)


@router.get("", tags=["users"], response_model=Page[UserOut])
async def list_users(
    principal: Annotated[Principal, require("users:read")], reader: Reader, page: UserPage
) -> Response:
    """All accounts."""
    return page.render(await service.list_users(reader, principal, page.query))


@router.post(
    "",
    tags=["users"],
    status_code=201,
    dependencies=[also_checks(dependencies.new_user)],
    responses=error_responses(
        EmailAlreadyExistsError, UsernameAlreadyExistsError, UnknownRoleError, RateLimitedError
    ),
)
async def create_user(
    principal: Annotated[Principal, require("users:write")],
    request: Request,
    context: CurrentContext,
    response: Response,
    new: UserCreate,
) -> UserOut:
    """Make an account for somebody else. Without a password they are mailed an invitation."""
    user = await service.create_user(context, principal, new, confirm=partial(reauthorize, request))
    response.headers["Location"] = f"/api/v1/users/{user.id}"
    return user


@router.get(
    "/{id}",
    tags=["users"],
    response_model=UserOut,
    responses=error_responses(PermissionDeniedError, UserNotFoundError),
)
async def read_user(
    id: Id, principal: CurrentPrincipal, reader: Reader, answer: UserAnswer
) -> Response:
    """One account. One's own always; others need the permission `users:read`."""
    return answer.render(await service.get_user(reader, principal, id))


@router.patch(
    "/{id}",
    tags=["users"],
    dependencies=[also_checks(dependencies.account)],
    responses=error_responses(
        UserNotFoundError,
        EmailAlreadyExistsError,
        UsernameAlreadyExistsError,
        LastAdminError,
        RateLimitedError,
    ),
)
async def update_user(
    id: Id,
    principal: Annotated[Principal, require("users:write")],
    request: Request,
    context: CurrentContext,
    changes: UserUpdate,
) -> UserOut:
    """Change what is sent; `is_active: false` locks the account out at once.

    Who has no password yet is mailed their invitation again when the address changes.
    """
    return await service.update_user(
        context, principal, id, changes, confirm=partial(reauthorize, request)
    )


@router.delete(
    "/{id}",
    tags=["users"],
    status_code=204,
    responses=error_responses(UserNotFoundError, LastAdminError),
)
async def delete_user(
    id: Id,
    principal: Annotated[Principal, require("users:delete")],
    request: Request,
    context: CurrentContext,
    session: Session,
) -> None:
    """Delete an account and everything that belongs to it, at once and for good."""
    await service.delete_user(context, session, principal, id)
    if id != principal.user_id:
        await reauthorize(request)


@router.put(
    "/{id}/roles",
    tags=["users"],
    dependencies=[also_checks(dependencies.assigned_roles)],
    responses=error_responses(UserNotFoundError, LastAdminError, UnknownRoleError),
)
async def set_roles(
    id: Id,
    principal: Annotated[Principal, require("users:admin")],
    request: Request,
    session: Session,
    wanted: RolesUpdate,
) -> UserOut:
    """Give exactly these roles; they count from the user's next request on."""
    user = await service.set_roles(session, principal, id, wanted.roles)
    await reauthorize(request)
    return user


@router.post(
    "/{id}/logout-all",
    tags=["auth"],
    status_code=204,
    responses=error_responses(UserNotFoundError),
)
async def log_out_user(
    id: Id,
    principal: Annotated[Principal, require("users:admin")],
    context: CurrentContext,
    session: Session,
) -> None:
    """End all sessions of a user, at once and on every server."""
    await service.end_sessions(context, session, principal, id)
