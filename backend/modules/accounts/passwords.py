"""Changing one's own password: the use case."""

from backend.core.context import Context
from backend.core.jobs import enqueue
from backend.core.principal import Principal
from backend.db.base import uuid7
from backend.modules.accounts.jobs import MAIL_PASSWORD_NOTICE
from backend.modules.accounts.schemas import PasswordChange
from backend.modules.audit import service as audit
from backend.modules.auth import service as auth
from backend.modules.users import service as users
from backend.modules.users.exceptions import CurrentPasswordWrongError, PasswordRefusedError


async def change_password(context: Context, principal: Principal, change: PasswordChange) -> None:
    """Replace the caller's password, end their other sessions and have them told by mail."""
    account = await auth.prove_password(
        context, principal.user_id, change.current_password, action="auth.password_change"
    )
    if change.new_password == change.current_password:
        raise PasswordRefusedError("new_password", "unchanged", "Must differ from the old one.")
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
        await auth.end_sessions(session, principal.user_id, keep=principal.session_id)
        await audit.record(session, "auth.password_change", target=("user", principal.user_id))
        await enqueue(
            session,
            MAIL_PASSWORD_NOTICE,
            user_id=str(principal.user_id),
            notice_id=str(uuid7()),
        )
