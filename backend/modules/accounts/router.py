from functools import partial
from typing import Annotated

from fastapi import Depends, Request, Response
from fastapi.responses import JSONResponse

from backend.core.errors import error_responses
from backend.core.http.body_rules import also_checks
from backend.core.http.dependencies import CurrentContext
from backend.core.http.routing import Router
from backend.core.identity import (
    CurrentPrincipal,
    credentials_ignored,
    public,
    reauthorize,
    require,
)
from backend.core.limits import RateLimitedError
from backend.core.principal import Principal
from backend.core.schemas import Id
from backend.modules.accounts import passwords, rules, service
from backend.modules.accounts.exceptions import RegistrationClosedError, TokenInvalidError
from backend.modules.accounts.schemas import (
    Accepted,
    AccountUpdate,
    LinkRequest,
    LinkToken,
    PasswordChange,
    PasswordReset,
)
from backend.modules.roles.exceptions import UnknownRoleError
from backend.modules.users.exceptions import (
    CurrentPasswordWrongError,
    EmailAlreadyExistsError,
    LastAdminError,
    UsernameAlreadyExistsError,
    UserNotFoundError,
)
from backend.modules.users.schemas import MeOut, Registration, UserCreate, UserOut, UserUpdate

# The addresses of two other modules; each route says to which it belongs. Who has forgotten a
# password may still send yesterday's cookie, so mailed links ignore it.
router = Router()
REGISTERED = Accepted(detail="A mail that says how to go on is on its way to this address.")
LINK_REQUESTED = Accepted(detail="If this address can use one, a link is on its way to it.")


async def _registration_open(context: CurrentContext) -> None:
    service.check_registration_open(context)


@router.post(
    "/auth/register",
    tags=["auth"],
    status_code=201,
    response_model=UserOut,
    # Before the body is looked at: where nobody may register, no field is wrong.
    dependencies=[public, Depends(_registration_open), also_checks(rules.new_account)],
    responses={
        202: {"model": Accepted, "description": "Where `REGISTRATION_MODE` is `strict`: always."},
        **error_responses(
            EmailAlreadyExistsError,
            UsernameAlreadyExistsError,
            RegistrationClosedError,
            RateLimitedError,
        ),
    },
)
async def register(
    context: CurrentContext, response: Response, new: Registration
) -> UserOut | Response:
    """Make an account. It is mailed a link to verify its address; nobody is signed in."""
    user = await service.register(context, new)
    if user is None:
        return JSONResponse(REGISTERED.model_dump(), 202)
    response.headers["Location"] = f"/api/v1/users/{user.id}"
    return user


@router.post(
    "/auth/forgot-password",
    tags=["auth"],
    status_code=202,
    dependencies=[credentials_ignored],
    responses=error_responses(RateLimitedError),
)
async def forgot_password(context: CurrentContext, request: LinkRequest) -> Accepted:
    """Have a link mailed that sets a new password. The answer is the same for every address."""
    await service.request_link(context, "reset", request.email)
    return LINK_REQUESTED


@router.post(
    "/auth/reset-password",
    tags=["auth"],
    status_code=204,
    dependencies=[credentials_ignored, also_checks(rules.new_password)],
    responses=error_responses(TokenInvalidError),
)
async def reset_password(context: CurrentContext, reset: PasswordReset) -> None:
    """Set the password with the token of a mailed link, an invitation's too.

    All sessions end, and the address counts as verified. A password that is refused does not use
    the token up.
    """
    await service.reset_password(context, reset.token, reset.new_password)


@router.post(
    "/auth/verify-email/request",
    tags=["auth"],
    status_code=202,
    dependencies=[credentials_ignored],
    responses=error_responses(RateLimitedError),
)
async def request_verification(context: CurrentContext, request: LinkRequest) -> Accepted:
    """Have the link mailed once more that verifies an address. The answer is always the same."""
    await service.request_link(context, "verify", request.email)
    return LINK_REQUESTED


@router.post(
    "/auth/verify-email",
    tags=["auth"],
    status_code=204,
    dependencies=[credentials_ignored],
    responses=error_responses(
        TokenInvalidError, EmailAlreadyExistsError, UsernameAlreadyExistsError
    ),
)
async def verify_email(context: CurrentContext, verification: LinkToken) -> None:
    """Verify an address with the token of a mailed link; a new address takes effect by this."""
    await service.verify_email(context, verification.token)


_CHANGING = error_responses(
    UsernameAlreadyExistsError,
    EmailAlreadyExistsError,
    CurrentPasswordWrongError,
    RateLimitedError,
)


_OWN = [also_checks(rules.own_account)]


@router.patch("/users/me", tags=["users"], dependencies=_OWN, responses=_CHANGING)
async def update_me(
    principal: CurrentPrincipal, context: CurrentContext, changes: AccountUpdate
) -> MeOut:
    """Change what is sent; `null` clears.

    A new `email` is `pending_email` until the link that is mailed there has been followed; to send
    the present one drops it. The old address is told.
    """
    return await service.update_me(context, principal, changes)


@router.put("/users/me", tags=["users"], dependencies=_OWN, responses=_CHANGING)
async def replace_me(
    principal: CurrentPrincipal, context: CurrentContext, changes: AccountUpdate
) -> MeOut:
    """The same as PATCH."""
    return await service.update_me(context, principal, changes)


@router.put(
    "/users/me/password",
    tags=["auth"],
    dependencies=[also_checks(rules.another_password)],
    status_code=204,
    responses=error_responses(CurrentPasswordWrongError, RateLimitedError),
)
async def change_password(
    principal: CurrentPrincipal, context: CurrentContext, change: PasswordChange
) -> None:
    """Replace the caller's password; their other sessions end, and they are told by mail."""
    await passwords.change_password(context, principal, change)


@router.post(
    "/users",
    tags=["users"],
    status_code=201,
    dependencies=[also_checks(rules.new_account)],
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
    user = await service.create_user(context, principal, new, partial(reauthorize, request))
    response.headers["Location"] = f"/api/v1/users/{user.id}"
    return user


@router.patch(
    "/users/{id}",
    tags=["users"],
    dependencies=[also_checks(rules.account)],
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
    return await service.update_user(context, principal, id, changes, partial(reauthorize, request))
