from typing import Annotated

from fastapi import Request

from backend.core.authorization import CurrentPrincipal, reauthorize, require
from backend.core.errors import ConflictError, error_responses
from backend.core.http.body_checks import also_checks
from backend.core.http.dependencies import CurrentContext, Reader, Session
from backend.core.http.pagination import list_parameters
from backend.core.http.routing import Router
from backend.core.lists import ListQuery, Page
from backend.core.principal import Principal
from backend.modules.roles import dependencies, queries, service
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
RoleQuery = Annotated[ListQuery, list_parameters(queries.ROLES)]
FeatureQuery = Annotated[ListQuery, list_parameters(queries.PERMISSIONS)]


@router.get("/permissions")
async def list_permissions(
    _: CurrentPrincipal, context: CurrentContext, reader: Reader, query: FeatureQuery
) -> Page[FeatureOut]:
    """Everything that can be permitted, by feature."""
    return await service.list_permissions(reader, context.features, query)


@router.get("/roles")
async def list_roles(by: MayRead, reader: Reader, query: RoleQuery) -> Page[RoleOut]:
    """All roles."""
    return await service.list_roles(reader, by, query)


@router.get("/roles/{name}", responses=error_responses(RoleNotFoundError))
async def read_role(name: str, by: MayRead, reader: Reader) -> RoleOut:
    """One role."""
    return await service.get_role(reader, by, name)


@router.post(
    "/roles",
    status_code=201,
    location=read_role,
    dependencies=[also_checks(dependencies.permissions)],
    responses=error_responses(ConflictError, RoleAlreadyExistsError, UnknownPermissionError),
)
async def create_role(
    by: MayWrite,
    request: Request,
    context: CurrentContext,
    session: Session,
    new: RoleCreate,
) -> RoleOut:
    """Make a role, of permissions that the caller holds."""
    role = await service.create_role(session, by, new, context.features)
    await reauthorize(request)
    return role


@router.patch(
    "/roles/{name}",
    dependencies=[also_checks(dependencies.permissions)],
    responses=error_responses(RoleNotFoundError, RoleProtectedError, UnknownPermissionError),
)
async def update_role(
    name: str,
    by: MayWrite,
    request: Request,
    context: CurrentContext,
    session: Session,
    changes: RoleUpdate,
) -> RoleOut:
    """Change what is sent; it counts from the next request of everybody who has the role.

    A role that holds a permission the caller lacks is out of their reach.
    """
    role = await service.update_role(session, by, name, changes, context.features)
    await reauthorize(request)
    return role


@router.delete(
    "/roles/{name}",
    status_code=204,
    responses=error_responses(RoleNotFoundError, RoleProtectedError, RoleInUseError),
)
async def delete_role(name: str, by: MayWrite, request: Request, session: Session) -> None:
    """Delete a role that nobody has."""
    await service.delete_role(session, by, name)
    await reauthorize(request)
