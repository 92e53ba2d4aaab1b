from typing import Annotated

from fastapi import Depends, Request, Response

from backend.core.errors import FieldError, PermissionDeniedError, error_responses
from backend.core.http.body_rules import Refused, also_checks
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
from backend.core.principal import Principal
from backend.core.schemas import Id
from backend.modules.roles import service as roles
from backend.modules.roles.exceptions import UnknownRoleError
from backend.modules.users import queries, service
from backend.modules.users.exceptions import LastAdminError, UserNotFoundError
from backend.modules.users.schemas import MeOut, RolesUpdate, UserOut

router = Router(prefix="/users", tags=["users"])
UserAnswer = Annotated[FieldSelection, Depends(ResourceParameters(UserOut))]
MeAnswer = Annotated[FieldSelection, Depends(ResourceParameters(MeOut))]
UserPage = Annotated[PageRequest, Depends(ListParameters(queries.USERS, UserOut))]


async def _role_errors(refused: Refused) -> list[FieldError]:
    return await roles.role_errors(refused.context, refused.sent.get("roles", ()))


@router.get("/me", response_model=MeOut)
async def read_me(
    principal: CurrentPrincipal, context: CurrentContext, answer: MeAnswer
) -> Response:
    """The caller's own account."""
    response = answer.render(await service.get_me(context.database.primary, principal.user_id))
    if principal.csrf_token:
        response.headers["X-CSRF-Token"] = principal.csrf_token
    return response


@router.get("", response_model=Page[UserOut])
async def list_users(
    _: Annotated[Principal, require("users:read")], reader: Reader, page: UserPage
) -> Response:
    """All accounts."""
    return page.render(await service.list_users(reader, page.query))


@router.get(
    "/{id}",
    response_model=UserOut,
    responses=error_responses(PermissionDeniedError, UserNotFoundError),
)
async def read_user(
    id: Id, principal: CurrentPrincipal, reader: Reader, answer: UserAnswer
) -> Response:
    """One account. One's own always; others need the permission `users:read`."""
    if id != principal.user_id:
        principal.must("users:read")
    return answer.render(await service.get_user(reader, id))


@router.delete(
    "/{id}", status_code=204, responses=error_responses(UserNotFoundError, LastAdminError)
)
async def delete_user(
    id: Id,
    principal: Annotated[Principal, require("users:delete")],
    request: Request,
    session: Session,
) -> None:
    """Delete an account and everything that belongs to it, at once and for good."""
    await service.delete_user(session, id, by=principal)
    if id != principal.user_id:
        await reauthorize(request)


@router.put(
    "/{id}/roles",
    dependencies=[also_checks(_role_errors)],
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
    user = await service.set_roles(session, id, wanted.roles, by=principal)
    await reauthorize(request)
    return user
