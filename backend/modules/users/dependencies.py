"""Errors that the service would raise, reported together with those of an invalid body."""

from backend.addresses.email_addresses import normal_email
from backend.core.errors import FieldError
from backend.core.http.body_checks import InvalidBody
from backend.core.principal import SYSTEM
from backend.modules.roles import service as roles
from backend.modules.users import service
from backend.modules.users.exceptions import OwnEmailError
from backend.modules.users.own_account import PASSWORD_MISSING


async def new_user(refused: InvalidBody) -> list[FieldError]:
    """Return the errors of an account that is created for another person."""
    sent, caller = refused.sent, refused.caller
    errors = service.new_account_errors(refused.context, sent)
    if "roles" in sent and caller is not None and caller.may("users:admin"):
        errors += await roles.role_errors(refused.context, SYSTEM, sent["roles"])
    return errors


async def another_password(refused: InvalidBody) -> list[FieldError]:
    """Return the errors of a new password of the caller."""
    assert refused.caller is not None
    return await service.password_change_errors(refused.context, refused.caller, refused.sent)


async def own_account(refused: InvalidBody) -> list[FieldError]:
    """Return the error of a new address of the caller without the current password."""
    sent, caller = refused.sent, refused.caller
    if caller is None or sent.get("email") is None or "current_password" in sent:
        return []
    me = await service.get_me(refused.context.database.primary, caller)
    return [] if normal_email(sent["email"].strip()) == me.email else [PASSWORD_MISSING]


async def account(refused: InvalidBody) -> list[FieldError]:
    """Return the error of a new address of the caller, which is changed at /users/me."""
    sent, caller = refused.sent, refused.caller
    if caller is None or "email" not in sent:
        return []
    if refused.path["id"].lower() != str(caller.user_id):
        return []
    me = await service.get_me(refused.context.database.primary, caller)
    same = normal_email(sent["email"].strip()) == me.email
    return [] if same else list(OwnEmailError().errors)


async def assigned_roles(refused: InvalidBody) -> list[FieldError]:
    return await roles.role_errors(refused.context, SYSTEM, refused.sent.get("roles", ()))
