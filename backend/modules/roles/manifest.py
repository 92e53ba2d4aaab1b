from backend.core.module import Module
from backend.core.permissions import Feature
from backend.modules.roles.router import router
from backend.modules.roles.service import sync_on_start

module = Module(
    name="roles",
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
)
