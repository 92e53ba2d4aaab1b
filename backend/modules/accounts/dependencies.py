"""Errors that the service would raise, reported together with those of an invalid body."""

from contextlib import suppress

from backend.core.errors import FieldError
from backend.core.http.body_checks import InvalidBody
from backend.core.http.dependencies import CurrentContext
from backend.modules.accounts import service
from backend.modules.accounts.exceptions import TokenInvalidError
from backend.modules.accounts.tokens import password_token
from backend.modules.users import service as users


async def registration_open(context: CurrentContext) -> None:
    service.check_registration_open(context)


async def registration(refused: InvalidBody) -> list[FieldError]:
    return users.new_account_errors(refused.context, refused.sent)


async def new_password(refused: InvalidBody) -> list[FieldError]:
    """Return the errors of the new password; an invalid token is not among them."""
    sent = refused.sent
    names: tuple[str | None, ...] = ()
    if "new_password" not in sent:
        return []
    with suppress(TokenInvalidError):
        _, names = await password_token(refused.context, sent.get("token", ""))
    return users.password_errors(
        refused.context, sent["new_password"], names=names, field="new_password"
    )
