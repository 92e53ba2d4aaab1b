from backend.core.events import durable, on
from backend.core.module import Module
from backend.core.personal_data import by_cascade, owned
from backend.modules.accounts import queries, subscribers
from backend.modules.accounts.jobs import (
    MAIL_ATTEMPTS,
    MAIL_LINK,
    MAIL_NOTICE,
    MAIL_PASSWORD_NOTICE,
    PURGE_TOKENS,
    mail_password_notice,
)
from backend.modules.accounts.router import router
from backend.modules.accounts.settings import AccountSettings
from backend.modules.users.events import (
    EmailChangeCancelled,
    EmailChanged,
    EmailChangeRequested,
    PasswordChanged,
    UsersInvited,
)

module = Module(
    router=router,
    depends_on=("audit", "auth", "mail", "users"),
    settings=AccountSettings,
    jobs=(MAIL_LINK, MAIL_NOTICE, MAIL_PASSWORD_NOTICE, PURGE_TOKENS),
    export={"mailed_links": owned(queries.MAILED_LINKS, "user")},
    erase=by_cascade,
    subscribers=(
        durable(
            PasswordChanged,
            mail_password_notice,
            name="accounts.notify_password_change",
            attempts=MAIL_ATTEMPTS,
        ),
        on(EmailChangeRequested, subscribers.mail_change_link),
        on(EmailChangeCancelled, subscribers.end_change_links),
        on(EmailChanged, subscribers.end_links_and_notify),
        on(UsersInvited, subscribers.mail_invitations),
    ),
)
