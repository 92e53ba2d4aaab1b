from fastapi import Depends, Response
from fastapi.responses import JSONResponse

from backend.core.authorization import credentials_ignored, public
from backend.core.errors import ConflictError, error_responses
from backend.core.http.body_checks import also_checks
from backend.core.http.dependencies import CurrentContext, Session
from backend.core.http.routing import Router
from backend.core.limits import RateLimitedError
from backend.modules.accounts import dependencies, service
from backend.modules.accounts.exceptions import RegistrationClosedError, TokenInvalidError
from backend.modules.accounts.schemas import Accepted, LinkRequest, LinkToken, PasswordReset
from backend.modules.users.exceptions import EmailAlreadyExistsError, UsernameAlreadyExistsError
from backend.modules.users.schemas import Registration, UserOut

# Routes for mailed links ignore credentials: the browser of a user who has forgotten the password
# may still send an old cookie.
router = Router(prefix="/auth", tags=["auth"], carries_secrets=True)
REGISTERED = Accepted(detail="A mail that says how to go on is on its way to this address.")
LINK_REQUESTED = Accepted(detail="If this address can use one, a link is on its way to it.")


@router.post(
    "/register",
    status_code=201,
    location="/users/{id}",
    response_model=UserOut,
    # Where registration is closed, the response is 403 before any field is validated.
    dependencies=[
        public,
        Depends(dependencies.registration_open),
        also_checks(dependencies.registration),
    ],
    responses={
        202: {"model": Accepted, "description": "Where `REGISTRATION_MODE` is `strict`: always."},
        **error_responses(
            ConflictError,
            EmailAlreadyExistsError,
            UsernameAlreadyExistsError,
            RegistrationClosedError,
            RateLimitedError,
        ),
    },
)
async def register(
    context: CurrentContext, session: Session, response: Response, new: Registration
) -> UserOut | Response:
    """Create an account, which is mailed a link to verify its address. Nobody is signed in."""
    response.headers["Cache-Control"] = "no-store"
    user = await service.register(context, session, new)
    return user or JSONResponse(REGISTERED.model_dump(), 202)


@router.post(
    "/forgot-password",
    status_code=202,
    dependencies=[credentials_ignored],
    responses=error_responses(RateLimitedError),
)
async def forgot_password(context: CurrentContext, request: LinkRequest) -> Accepted:
    """Mail a link that sets a new password. The answer is the same for every address."""
    await service.request_link(context, "reset", request.email)
    return LINK_REQUESTED


@router.post(
    "/reset-password",
    status_code=204,
    dependencies=[credentials_ignored, also_checks(dependencies.new_password)],
    responses=error_responses(TokenInvalidError),
)
async def reset_password(context: CurrentContext, reset: PasswordReset) -> None:
    """Set the password with the token of a mailed link, an invitation's too.

    All sessions end, and the address counts as verified. A refused password does not use up the
    token.
    """
    await service.reset_password(context, reset.token, reset.new_password)


@router.post(
    "/verify-email/request",
    status_code=202,
    dependencies=[credentials_ignored],
    responses=error_responses(RateLimitedError),
)
async def request_verification(context: CurrentContext, request: LinkRequest) -> Accepted:
    """Mail the link that verifies an address again. The answer is always the same."""
    await service.request_link(context, "verify", request.email)
    return LINK_REQUESTED


@router.post(
    "/verify-email",
    status_code=204,
    dependencies=[credentials_ignored],
    responses=error_responses(
        TokenInvalidError, ConflictError, EmailAlreadyExistsError, UsernameAlreadyExistsError
    ),
)
async def verify_email(context: CurrentContext, verification: LinkToken) -> None:
    """Verify an address with the token of a mailed link. A new address takes effect with this."""
    await service.verify_email(context, verification.token)
