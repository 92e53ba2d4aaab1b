from typing import Annotated

from fastapi import Depends, Request, Response

from backend.core.dependencies import CurrentContext, ReadSession, Session
from backend.core.errors import documented
from backend.core.identity import CurrentPrincipal, confirm, require
from backend.core.pagination import Answer, ListParameters, Page, PageRequest, ResourceParameters
from backend.core.principal import Principal
from backend.core.routing import Router
from backend.core.rules import also_checks
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
Reader = Annotated[Principal, require("roles:read")]
Writer = Annotated[Principal, require("roles:write")]
RoleAnswer = Annotated[Answer, Depends(ResourceParameters(RoleOut))]
RolePage = Annotated[PageRequest, Depends(ListParameters(queries.ROLES, RoleOut))]
FeaturePage = Annotated[PageRequest, Depends(ListParameters(queries.PERMISSIONS, FeatureOut))]


@router.get("/permissions", response_model=Page[FeatureOut])
async def list_permissions(
    _: CurrentPrincipal, context: CurrentContext, reads: ReadSession, page: FeaturePage
) -> Response:
    """Everything that can be permitted, by feature."""
    return page.of(await service.list_permissions(reads, context.features, page.query))


@router.get("/roles", response_model=Page[RoleOut])
async def list_roles(_: Reader, reads: ReadSession, page: RolePage) -> Response:
    """All roles."""
    return page.of(await service.list_roles(reads, page.query))


@router.post(
    "/roles",
    status_code=201,
    dependencies=[also_checks(rules.permissions)],
    responses=documented(RoleAlreadyExistsError, UnknownPermissionError),
)
async def create_role(
    principal: Writer,
    request: Request,
    context: CurrentContext,
    session: Session,
    response: Response,
    new: RoleCreate,
) -> RoleOut:
    """Make a role, of permissions that the caller holds."""
    role = await service.create_role(session, principal, new, context.features)
    await confirm(request)
    response.headers["Location"] = f"/api/v1/roles/{role.name}"
    return role


@router.get("/roles/{name}", response_model=RoleOut, responses=documented(RoleNotFoundError))
async def read_role(name: str, _: Reader, reads: ReadSession, answer: RoleAnswer) -> Response:
    """One role."""
    return answer.of(await service.get_role(reads, name))


@router.patch(
    "/roles/{name}",
    dependencies=[also_checks(rules.permissions)],
    responses=documented(RoleNotFoundError, RoleProtectedError, UnknownPermissionError),
)
async def update_role(
    name: str,
    principal: Writer,
    request: Request,
    context: CurrentContext,
    session: Session,
    changes: RoleUpdate,
) -> RoleOut:
    """Change what is sent; it counts from the next request of everybody who has the role.

    A role that holds a permission the caller lacks is out of their reach.
    """
    role = await service.update_role(session, principal, name, changes, context.features)
    await confirm(request)
    return role


@router.delete(
    "/roles/{name}",
    status_code=204,
    responses=documented(RoleNotFoundError, RoleProtectedError, RoleInUseError),
)
async def delete_role(name: str, principal: Writer, request: Request, session: Session) -> None:
    """Delete a role that nobody has."""
    await service.delete_role(session, principal, name)
    await confirm(request)
