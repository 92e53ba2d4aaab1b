from typing import Annotated

from fastapi import Depends, Request, Response

from backend.core.errors import error_responses
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
from backend.core.principal import Principal
from backend.modules.roles import queries, rules, service
from backend.modules.roles.exceptions import (
    RoleAlreadyExistsError,
    RoleInUseError,
    RoleNotFoundError,
    RoleProtectedError,
    UnknownPermissionError,
)
from backend.modules.roles.schemas import FeatureOut, RoleCreate, RoleOut, RoleUpdate

router = Router(tags=["roles"])
MayRead = Annotated[Principal, require("roles:read")]
MayWrite = Annotated[Principal, require("roles:write")]
RoleAnswer = Annotated[FieldSelection, Depends(ResourceParameters(RoleOut))]
RolePage = Annotated[PageRequest, Depends(ListParameters(queries.ROLES, RoleOut))]
FeaturePage = Annotated[PageRequest, Depends(ListParameters(queries.PERMISSIONS, FeatureOut))]


@router.get("/permissions", response_model=Page[FeatureOut])
async def list_permissions(
    _: CurrentPrincipal, context: CurrentContext, reader: Reader, page: FeaturePage
) -> Response:
    """Everything that can be permitted, by feature."""
    return page.render(await service.list_permissions(reader, context.features, page.query))


@router.get("/roles", response_model=Page[RoleOut])
async def list_roles(_: MayRead, reader: Reader, page: RolePage) -> Response:
    """All roles."""
    return page.render(await service.list_roles(reader, page.query))


@router.post(
    "/roles",
    status_code=201,
    dependencies=[also_checks(rules.permissions)],
    responses=error_responses(RoleAlreadyExistsError, UnknownPermissionError),
)
async def create_role(
    principal: MayWrite,
    request: Request,
    context: CurrentContext,
    session: Session,
    response: Response,
    new: RoleCreate,
) -> RoleOut:
    """Make a role, of permissions that the caller holds."""
    role = await service.create_role(session, principal, new, context.features)
    await reauthorize(request)
    response.headers["Location"] = f"/api/v1/roles/{role.name}"
    return role


@router.get("/roles/{name}", response_model=RoleOut, responses=error_responses(RoleNotFoundError))
async def read_role(name: str, _: MayRead, reader: Reader, answer: RoleAnswer) -> Response:
    """One role."""
    return answer.render(await service.get_role(reader, name))


@router.patch(
    "/roles/{name}",
    dependencies=[also_checks(rules.permissions)],
    responses=error_responses(RoleNotFoundError, RoleProtectedError, UnknownPermissionError),
)
async def update_role(
    name: str,
    principal: MayWrite,
    request: Request,
    context: CurrentContext,
    session: Session,
    changes: RoleUpdate,
) -> RoleOut:
    """Change what is sent; it counts from the next request of everybody who has the role.

    A role that holds a permission the caller lacks is out of their reach.
    """
    role = await service.update_role(session, principal, name, changes, context.features)
    await reauthorize(request)
    return role


@router.delete(
    "/roles/{name}",
    status_code=204,
    responses=error_responses(RoleNotFoundError, RoleProtectedError, RoleInUseError),
)
async def delete_role(name: str, principal: MayWrite, request: Request, session: Session) -> None:
    """Delete a role that nobody has."""
    await service.delete_role(session, principal, name)
    await reauthorize(request)
