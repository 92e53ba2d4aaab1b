from backend.core.context import ExportPart
from backend.core.features import Feature
from backend.core.module import Module
from backend.core.personal_data import by_cascade
from backend.modules.users import service
from backend.modules.users.models import User
from backend.modules.users.passwords import hashing
from backend.modules.users.router import router
from backend.modules.users.schemas import MeOut
from backend.modules.users.settings import UserSettings
from backend.modules.users.startup import create_first_admin

module = Module(
    router=router,
    depends_on=("audit", "files", "roles", "storage_quotas"),
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
    users_table=User,
    owned={"GET /users/{id}": "users:read"},
    export={"user": ExportPart(MeOut, service.export_me, single=True)},
    erase=by_cascade,
    startup=create_first_admin,
    lifespan=hashing,
)
