"""Creation of the first administrator."""

import structlog

from backend.core.context import Context
from backend.core.features import ADMIN_ROLE
from backend.core.principal import SYSTEM
from backend.modules.users import service
from backend.modules.users.changes import lock_admins
from backend.modules.users.exceptions import EmailAlreadyExistsError, PasswordRefusedError
from backend.modules.users.settings import UserSettings

log = structlog.get_logger()


async def create_first_admin(context: Context) -> None:
    """Create the account of `FIRST_ADMIN_*` unless an administrator can already sign in."""
    settings = context.settings_of(UserSettings)
    if not settings.first_admin_email or not settings.first_admin_password:
        return
    async with context.database.transaction() as session:
        if await lock_admins(session):
            return
    email, password = settings.first_admin_email, settings.first_admin_password.get_secret_value()
    try:
        password_hash = await service.hash_new_password(context, password, names=[email])
    except PasswordRefusedError as error:
        log.error("first_admin_not_made", reason=f"FIRST_ADMIN_PASSWORD: {error.errors[0].message}")
        return
    async with context.database.transaction() as session:
        # Another process may have created it while this one hashed the password.
        if await lock_admins(session):
            return
        try:
            await service.add_user(
                session,
                SYSTEM,
                email=email,
                password_hash=password_hash,
                is_verified=True,
                roles=(ADMIN_ROLE,),
            )
        except EmailAlreadyExistsError:
            # Promoting the account could give rights to another person than the operator.
            log.error(
                "first_admin_not_made",
                reason="FIRST_ADMIN_EMAIL belongs to an account that is no administrator; "
                "use `backend users create-admin` with another address.",
            )
