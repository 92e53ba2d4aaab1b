from backend.core.module import Module
from backend.modules.auth.authentication import authenticate
from backend.modules.auth.credentials import SECURITY
from backend.modules.auth.jobs import PURGE_SESSIONS
from backend.modules.auth.router import router
from backend.modules.auth.settings import AuthSettings

module = Module(
    name="auth",
    router=router,
    depends_on=("audit", "users"),
    settings=AuthSettings,
    authenticate=authenticate,
    security=SECURITY,
    jobs=(PURGE_SESSIONS,),
)
