from backend.core.features import Feature
from backend.core.module import Module
from backend.modules.roles.router import router
from backend.modules.roles.schemas import BUILT_IN_ROLES
from backend.modules.roles.startup import sync_on_start

module = Module(
    router=router,
    depends_on=("audit",),
    features=(
        Feature(
            "roles",
            "What each role permits.",
            {"read": "See roles.", "write": "Make, change and delete roles."},
        ),
    ),
    startup=sync_on_start,
    built_in_roles=BUILT_IN_ROLES,
)
