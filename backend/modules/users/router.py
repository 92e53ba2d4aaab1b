from functools import partial
from typing import Annotated

from fastapi import Request, Response, UploadFile

from backend.core.authorization import CurrentPrincipal, reauthorize, require
from backend.core.errors import ConflictError, PermissionDeniedError, error_responses
from backend.core.http.bodies import MAX_BULK_BYTES
from backend.core.http.body_checks import also_checks
from backend.core.http.dependencies import CurrentContext, Reader, Session
from backend.core.http.inclusions import Included, include_parameter
from backend.core.http.pagination import list_parameters
from backend.core.http.routing import Router
from backend.core.limits import RateLimitedError
from backend.core.lists import ListQuery, Page
from backend.core.principal import Principal
from backend.core.schemas import Bulk, Id
from backend.modules.files.exceptions import ImageTooLargeError, ImageUnreadableError
from backend.modules.roles.exceptions import UnknownRoleError
from backend.modules.storage_quotas.exceptions import StorageQuotaExceededError
from backend.modules.users import dependencies, queries, reports, service
from backend.modules.users.exceptions import (
    CurrentPasswordWrongError,
    EmailAlreadyExistsError,
    LastAdminError,
    UsernameAlreadyExistsError,
    UserNotFoundError,
)
from backend.modules.users.schemas import (
    AVATAR_BODY,
    AVATAR_BYTES,
    AccountUpdate,
    InvitedUser,
    MeOut,
    PasswordChange,
    RolesUpdate,
    UserCreate,
    UserOut,
    UserUpdate,
)

# Tags are set per route: routes for passwords and sessions are documented with sign-in.
router = Router(prefix="/users")
MayRead = Annotated[Principal, require("users:read")]
MayWrite = Annotated[Principal, require("users:write")]
MayDelete = Annotated[Principal, require("users:delete")]
MayAdminister = Annotated[Principal, require("users:admin")]
UserQuery = Annotated[ListQuery, list_parameters(queries.USERS)]
Include = Annotated[Included, include_parameter("users")]
# Boundaries and headers of a form with one file.
MULTIPART_OVERHEAD = 16 * 1024
_CHANGES_ME = error_responses(
    ConflictError,
    UsernameAlreadyExistsError,
    EmailAlreadyExistsError,
    CurrentPasswordWrongError,
    RateLimitedError,
)

_CSRF_HEADER = {
    "X-CSRF-Token": {
        "description": "For callers whose session is in cookies: the value to send.",
        "schema": {"type": "string"},
    }
}

# `/users/me` and the reports must come before `/users/{id}`, which would match them as well.
router.include_router(reports.router)


@router.get("/me", tags=["users"], responses={200: {"headers": _CSRF_HEADER}})
async def read_me(by: CurrentPrincipal, context: CurrentContext, response: Response) -> MeOut:
    """The caller's own account."""
    if by.csrf_token:
        response.headers["X-CSRF-Token"] = by.csrf_token
    return await service.get_me(context.database.primary, by)


@router.patch(
    "/me",
    tags=["users"],
    dependencies=[also_checks(dependencies.own_account)],
    responses=_CHANGES_ME,
)
async def update_me(by: CurrentPrincipal, context: CurrentContext, changes: AccountUpdate) -> MeOut:
    """Change what is sent; `null` clears.

    A new `email` is `pending_email` until the link that is mailed there has been followed; sending
    the present one cancels the change. A notice is mailed to the old address.
    """
    return await service.update_me(context, by, changes)


@router.put(
    "/me",
    tags=["users"],
    dependencies=[also_checks(dependencies.own_account)],
    responses=_CHANGES_ME,
)
async def replace_me(
    by: CurrentPrincipal, context: CurrentContext, changes: AccountUpdate
) -> MeOut:
    """The same as PATCH."""
    return await service.update_me(context, by, changes)


@router.delete("/me", tags=["users"], status_code=204, responses=error_responses(LastAdminError))
async def delete_me(by: CurrentPrincipal, context: CurrentContext, session: Session) -> None:
    """Delete the caller's account and everything that belongs to it, at once and for good."""
    await service.delete_me(context, session, by)


@router.put(
    "/me/password",
    tags=["auth"],
    dependencies=[also_checks(dependencies.another_password)],
    status_code=204,
    responses=error_responses(CurrentPasswordWrongError, RateLimitedError),
)
async def change_password(
    by: CurrentPrincipal, context: CurrentContext, change: PasswordChange
) -> None:
    """Replace the caller's password. Their other sessions end, and a notice is mailed to them."""
    await service.change_password(context, by, change)


@router.put(
    "/me/avatar",
    tags=["users"],
    max_body_size=AVATAR_BYTES + MULTIPART_OVERHEAD,
    openapi_extra=AVATAR_BODY,
    responses=error_responses(ImageUnreadableError, ImageTooLargeError, StorageQuotaExceededError),
)
async def replace_avatar(by: CurrentPrincipal, context: CurrentContext, file: UploadFile) -> MeOut:
    """Set the caller's picture: PNG, JPEG or WebP, at most 2 MiB and 25 million pixels.

    The bytes decide about the type. Metadata in the image, such as its location, stay in it.
    """
    return await service.replace_avatar(context, by, file.file)


@router.delete("/me/avatar", tags=["users"], status_code=204)
async def delete_avatar(by: CurrentPrincipal, context: CurrentContext) -> None:
    """Remove the caller's picture, if there is one."""
    await service.delete_avatar(context, by)


@router.get("", tags=["users"])
async def list_users(by: MayRead, reader: Reader, query: UserQuery) -> Page[UserOut]:
    """All accounts."""
    return await service.list_users(reader, by, query)


@router.get(
    "/{id}",
    tags=["users"],
    responses=error_responses(PermissionDeniedError, UserNotFoundError),
)
async def read_user(id: Id, by: CurrentPrincipal, reader: Reader, include: Include) -> UserOut:
    """One account. Your own needs no permission; others need `users:read`."""
    if include:
        await include.load(reader, by, id)
    return await service.get_user(reader, by, id)


@router.post(
    "",
    tags=["users"],
    status_code=201,
    location=read_user,
    dependencies=[also_checks(dependencies.new_user)],
    responses=error_responses(
        ConflictError,
        EmailAlreadyExistsError,
        UsernameAlreadyExistsError,
        UnknownRoleError,
        RateLimitedError,
    ),
)
async def create_user(
    by: MayWrite, request: Request, context: CurrentContext, session: Session, new: UserCreate
) -> UserOut:
    """Create an account for somebody else. Without a password, an invitation is mailed."""
    confirm = partial(reauthorize, request)
    return await service.create_user(context, session, by, new, confirm=confirm)


@router.post(
    "/bulk",
    tags=["users"],
    status_code=201,
    max_body_size=MAX_BULK_BYTES,
    responses=error_responses(
        ConflictError,
        EmailAlreadyExistsError,
        UsernameAlreadyExistsError,
        StorageQuotaExceededError,
        RateLimitedError,
    ),
)
async def create_users(
    by: MayWrite,
    request: Request,
    context: CurrentContext,
    session: Session,
    new: Bulk[InvitedUser],
) -> Bulk[UserOut]:
    """Create up to 1000 accounts for others, or none of them. Invitations are mailed."""
    confirm = partial(reauthorize, request)
    return await service.create_users(context, session, by, new.data, confirm=confirm)


@router.patch(
    "/{id}",
    tags=["users"],
    dependencies=[also_checks(dependencies.account)],
    responses=error_responses(
        UserNotFoundError,
        ConflictError,
        EmailAlreadyExistsError,
        UsernameAlreadyExistsError,
        LastAdminError,
        RateLimitedError,
    ),
)
async def update_user(
    id: Id,
    by: MayWrite,
    request: Request,
    context: CurrentContext,
    changes: UserUpdate,
) -> UserOut:
    """Change what is sent; `is_active: false` locks the account out at once.

    An account without a password is mailed its invitation again when its address changes.
    """
    return await service.update_user(
        context, by, id, changes, confirm=partial(reauthorize, request)
    )


@router.delete(
    "/{id}",
    tags=["users"],
    status_code=204,
    responses=error_responses(UserNotFoundError, LastAdminError),
)
async def delete_user(
    id: Id,
    by: MayDelete,
    request: Request,
    context: CurrentContext,
    session: Session,
) -> None:
    """Delete an account and everything that belongs to it, at once and for good."""
    confirm = partial(reauthorize, request)
    await service.delete_user(context, session, by, id, confirm=confirm)


@router.put(
    "/{id}/roles",
    tags=["users"],
    dependencies=[also_checks(dependencies.assigned_roles)],
    responses=error_responses(UserNotFoundError, LastAdminError, UnknownRoleError),
)
async def set_roles(
    id: Id,
    by: MayAdminister,
    request: Request,
    session: Session,
    wanted: RolesUpdate,
) -> UserOut:
    """Replace all roles by these, from the user's next request on."""
    user = await service.set_roles(session, by, id, wanted.roles)
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
    by: MayAdminister,
    context: CurrentContext,
    session: Session,
) -> None:
    """End all sessions of a user, at once and on every server."""
    await service.end_sessions(context, session, by, id)
