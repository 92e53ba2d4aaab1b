"""Changing one's own password: the use case."""

from collections.abc import Mapping

from backend.core.context import Context
from backend.core.errors import FieldError, InvalidInputError, InvalidTokenError
from backend.core.jobs import enqueue
from backend.core.principal import Principal
from backend.db.base import uuid7
from backend.modules.accounts import tokens
from backend.modules.accounts.jobs import MAIL_PASSWORD_NOTICE
from backend.modules.accounts.schemas import PasswordChange
from backend.modules.audit import service as audit
from backend.modules.auth import service as auth
from backend.modules.users import service as users
from backend.modules.users.exceptions import CurrentPasswordWrongError, UserNotFoundError

_UNCHANGED = FieldError(
    field="body.new_password", message="Must differ from the old one.", code="unchanged"
)


async def change_errors(
    context: Context, principal: Principal, sent: Mapping[str, str]
) -> list[FieldError]:
    """What is wrong with the new password, whether or not the present one is right."""
    if "new_password" not in sent:
        return []
    if sent["new_password"] == sent.get("current_password"):
        return [_UNCHANGED]
    try:
        found = await users.credentials_of(context.database.primary, principal.user_id)
    except UserNotFoundError:
        # Deleted since the request began, and so is the session it came with.
        raise InvalidTokenError from None
    names = (found.email, found.username)
    return users.password_errors(context, sent["new_password"], names=names, field="new_password")


async def change_password(context: Context, principal: Principal, change: PasswordChange) -> None:
    """Replace the caller's password, end their other sessions and have them told by mail."""
    # Before any hashing.
    if found := await change_errors(context, principal, change.model_dump()):
        raise InvalidInputError(errors=found)
    account = await auth.confirm_password(
        context, principal.user_id, change.current_password, action="auth.password_change"
    )
    new_hash = await users.accept_password(
        context,
        change.new_password,
        names=(account.email, account.username),
        field="new_password",
    )
    async with context.database.transaction() as session:
        if not await users.lock_password(session, principal.user_id, account.password_hash):
            raise CurrentPasswordWrongError
        await users.set_password(session, principal.user_id, new_hash)
        await tokens.end(session, principal.user_id, "email_change")
        await auth.end_sessions(session, principal.user_id, keep=principal.session_id)
        await audit.record(session, "auth.password_change", target=("user", principal.user_id))
        await enqueue(
            session,
            MAIL_PASSWORD_NOTICE,
            user_id=str(principal.user_id),
            notice_id=str(uuid7()),
        )
