from backend.core.module import Module
from backend.modules.accounts.jobs import (
    MAIL_LINK,
    MAIL_NOTICE,
    MAIL_PASSWORD_NOTICE,
    PURGE_TOKENS,
)
from backend.modules.accounts.router import router
from backend.modules.accounts.settings import AccountSettings

module = Module(
    name="accounts",
    router=router,
    depends_on=("audit", "auth", "mail", "roles", "users"),
    settings=AccountSettings,
    jobs=(MAIL_LINK, MAIL_NOTICE, MAIL_PASSWORD_NOTICE, PURGE_TOKENS),
)
