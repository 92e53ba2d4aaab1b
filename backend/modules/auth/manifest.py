from backend.core.context import ExportPart
from backend.core.events import on
from backend.core.module import Module
from backend.core.personal_data import by_cascade
from backend.modules.auth import queries, service, subscribers
from backend.modules.auth.authentication import authenticate, mark_write
from backend.modules.auth.jobs import PURGE_SESSIONS
from backend.modules.auth.router import router
from backend.modules.auth.schemas import SessionOut
from backend.modules.auth.security_schemes import SECURITY
from backend.modules.auth.settings import AuthSettings
from backend.modules.users.events import (
    EmailChanged,
    PasswordChanged,
    SessionsRevoked,
    UserDeleted,
)

module = Module(
    router=router,
    depends_on=("audit", "users"),
    settings=AuthSettings,
    authenticate=authenticate,
    mark_write=mark_write,
    security=SECURITY,
    jobs=(PURGE_SESSIONS,),
    owned={"GET /auth/sessions": None, "/auth/sessions/{id}": None},
    export={"sessions": ExportPart(SessionOut, service.export_sessions)},
    erase=by_cascade,
    statistics=queries.STATISTICS,
    subscribers=(
        on(PasswordChanged, subscribers.end_other_sessions),
        on(SessionsRevoked, subscribers.end_all_sessions),
        on(EmailChanged, subscribers.end_sessions_of_former_owner),
        on(UserDeleted, subscribers.clear_own_cookies),
    ),
)
