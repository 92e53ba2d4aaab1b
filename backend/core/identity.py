"""Who may call a route, declared in the signature of its handler.

    principal: CurrentPrincipal                                      whoever is signed in
    principal: Annotated[Principal, require("notes:publish")]        who holds this permission
    caller: OptionalPrincipal                                        anybody, signed in or not
    dependencies=[public]                                            anybody
    dependencies=[credentials_ignored]                               anybody, tokens not looked at
    dependencies=[unlimited]                                         the same, and not counted

`backend.core.http.routing` applies the policy before the body is read, so a caller who may not
learn anything learns nothing from validation either.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from fastapi import Depends
from fastapi.dependencies.models import Dependant
from starlette.requests import Request

from backend.core.context import context_of
from backend.core.errors import AppError, NotAuthenticatedError, PermissionDeniedError
from backend.core.limits import count_request
from backend.core.principal import Principal

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Policy:
    """The access rule of a route, and the dependency that hands the caller to its handler.

    `limited` routes count towards the limits of their caller.
    """

    kind: Literal["ignored", "public", "signed in", "permission"]
    permission: str | None = None
    limited: bool = True

    def __str__(self) -> str:
        return self.permission or self.kind

    async def admit(self, request: Request) -> None:
        """Find out who is calling, and count it; raise unless they may."""
        context = context_of(request)
        principal = None
        if self.kind != "ignored":
            try:
                principal = await context.authenticate(request)
            except AppError:
                # Whose the token is, nobody knows; where it comes from, we do.
                if self.limited:
                    await count_request(context, request.scope, None)
                raise
        request.scope["principal"] = principal
        if self.limited:
            await count_request(context, request.scope, principal)
        if self.kind in ("ignored", "public"):
            return
        if principal is None:
            raise NotAuthenticatedError
        if self.permission:
            principal.must(self.permission)

    async def __call__(self, request: Request) -> Principal | None:
        return cast(Principal | None, request.scope["principal"])


def require(permission: str) -> Any:
    """Only for holders of `permission`, a `feature:action` that some module declares."""
    return Depends(Policy("permission", permission))


async def reauthorize(request: Request) -> None:
    """Ask once more who is calling, at the end of a change of rights.

    It may have waited for somebody who was just taking the caller's own rights away; then it must
    not give them back. Raises unless the caller still has every permission they came with.
    """
    before = cast(Principal, request.scope["principal"])
    now = await context_of(request).authenticate(request)
    if now is None or not before.permissions <= now.permissions:
        raise PermissionDeniedError


public = Depends(Policy("public"))
credentials_ignored = Depends(Policy("ignored"))
unlimited = Depends(Policy("ignored", limited=False))
CurrentPrincipal = Annotated[Principal, Depends(Policy("signed in"))]
OptionalPrincipal = Annotated[Principal | None, public]


def policies(dependant: Dependant) -> list[Policy]:
    """The policies a route declares; exactly one, or the application does not start."""
    found = [each.call for each in dependant.dependencies if isinstance(each.call, Policy)]
    return list(dict.fromkeys(found))
