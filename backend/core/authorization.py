"""Access policies of routes, declared in the signatures of their handlers.

    principal: CurrentPrincipal                                      any signed-in user
    principal: Annotated[Principal, require("notes:publish")]        holders of this permission
    caller: OptionalPrincipal                                        any client, signed in or not
    dependencies=[public]                                            any client
    dependencies=[credentials_ignored]                               any client; tokens are not read
    dependencies=[unlimited]                                         the same, without rate limit
    dependencies=[download]                                          any client; see below

A download is the same for every caller, and a page contains many of them as images: they do not
read cookies, which browsers send with images, and have a larger rate limit of their own. A token in
`Authorization` must be valid, as on every public route.

`backend.core.http.routing` applies the policy before the body is read, so that a caller without
permission gets no response of the validation.
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
    """The access policy of a route, and the dependency that passes the caller to its handler.

    Requests of `limited` routes count towards the caller's rate limit.
    """

    kind: Literal["ignored", "download", "public", "signed in", "permission"]
    permission: str | None = None
    limited: bool = True

    def __str__(self) -> str:
        return self.permission or self.kind

    async def authorize(self, request: Request) -> None:
        """Authenticate and count the request; raise an error unless the caller is permitted."""
        context = context_of(request)
        principal = None
        is_download = self.kind == "download"
        if self.kind != "ignored" and not (is_download and "authorization" not in request.headers):
            try:
                principal = await context.authenticate(request)
            except AppError:
                # The user is unknown, so the request counts for its address.
                if self.limited:
                    await count_request(context, request.scope, None)
                raise
        request.scope["principal"] = principal
        if self.limited:
            await count_request(context, request.scope, principal, is_download=is_download)
        if self.kind in ("ignored", "download", "public"):
            return
        if principal is None:
            raise NotAuthenticatedError
        if self.permission:
            principal.must(self.permission)

    async def __call__(self, request: Request) -> Principal | None:
        return cast(Principal | None, request.scope["principal"])


def require(permission: str) -> Any:
    """Require `permission`, a `feature:action` that a module declares."""
    return Depends(Policy("permission", permission))


async def reauthorize(request: Request) -> None:
    """Authenticate again at the end of a change of permissions.

    The change may have waited for a concurrent one that revokes permissions of the caller. Raise
    `PermissionDeniedError` unless the caller still holds all permissions they had before.
    """
    before = cast(Principal, request.scope["principal"])
    now = await context_of(request).authenticate(request)
    if now is None or not before.permissions <= now.permissions:
        raise PermissionDeniedError


public = Depends(Policy("public"))
credentials_ignored = Depends(Policy("ignored"))
unlimited = Depends(Policy("ignored", limited=False))
download = Depends(Policy("download"))
CurrentPrincipal = Annotated[Principal, Depends(Policy("signed in"))]
OptionalPrincipal = Annotated[Principal | None, public]


def policies(dependant: Dependant) -> list[Policy]:
    """Return the policies a route declares. The registry requires exactly one."""
    calls = (dependency.call for dependency in dependant.dependencies)
    return list(dict.fromkeys(call for call in calls if isinstance(call, Policy)))
