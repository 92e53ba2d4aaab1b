from backend.core.features import Feature
from backend.core.module import Module
from backend.modules.users.passwords import hashing
from backend.modules.users.router import router
from backend.modules.users.settings import UserSettings
from backend.modules.users.startup import create_first_admin

module = Module(
    router=router,
    depends_on=("audit", "roles"),
    features=(
        Feature(
            "users",
            "Accounts of other people.",
            {
                "read": "See accounts.",
                "write": "Create and change accounts.",
                "delete": "Delete accounts.",
                "admin": "Give and take roles, change addresses, and end sessions.",
            },
        ),
    ),
    settings=UserSettings,
    startup=create_first_admin,
    lifespan=hashing,
)
