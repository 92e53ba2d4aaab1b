"""Rules of the service, applied to a body that its types refuse: all errors come together."""

from contextlib import suppress

from backend.addresses.email_addresses import normal_email
from backend.core.errors import FieldError
from backend.core.http.body_rules import Refused
from backend.modules.accounts import passwords, service
from backend.modules.accounts.exceptions import TokenInvalidError
from backend.modules.roles import service as roles
from backend.modules.users import service as users
from backend.modules.users.exceptions import OwnEmailError


async def new_account(refused: Refused) -> list[FieldError]:
    """Of a registration, or of an account made by somebody else."""
    sent, caller = refused.sent, refused.caller
    found: list[FieldError] = []
    if sent.get("password") is not None:
        email = sent.get("email")
        names = (email and _normal(email), (sent.get("username") or "").strip())
        found += users.password_errors(refused.context, sent["password"], names=names)
    if "roles" in sent and caller is not None and caller.may("users:admin"):
        found += await roles.role_errors(refused.context, sent["roles"])
    return found


async def new_password(refused: Refused) -> list[FieldError]:
    """Of the password that a mailed token sets; a bad token is not among them."""
    sent = refused.sent
    names: tuple[str | None, ...] = ()
    if "new_password" not in sent:
        return []
    with suppress(TokenInvalidError):
        _, names = await service.password_token(refused.context, sent.get("token", ""))
    return users.password_errors(
        refused.context, sent["new_password"], names=names, field="new_password"
    )


async def another_password(refused: Refused) -> list[FieldError]:
    """Of the password that replaces one's own."""
    assert refused.caller is not None
    return await passwords.change_errors(refused.context, refused.caller, refused.sent)


async def own_account(refused: Refused) -> list[FieldError]:
    """Another address needs the present password."""
    sent, caller = refused.sent, refused.caller
    if caller is None or sent.get("email") is None or "current_password" in sent:
        return []
    me = await users.get_me(refused.context.database.primary, caller.user_id)
    return [] if _normal(sent["email"]) == me.email else [service.PASSWORD_MISSING]


async def account(refused: Refused) -> list[FieldError]:
    """One's own address is changed elsewhere."""
    sent, caller = refused.sent, refused.caller
    if caller is None or "email" not in sent:
        return []
    if refused.path["id"].lower() != str(caller.user_id):
        return []
    me = await users.get_me(refused.context.database.primary, caller.user_id)
    return [] if _normal(sent["email"]) == me.email else list(OwnEmailError().errors)


def _normal(email: str) -> str:
    return normal_email(email.strip())
