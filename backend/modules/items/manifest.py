from backend.core.context import Inclusion
from backend.core.features import Feature
from backend.core.module import Module
from backend.core.personal_data import by_cascade, owned
from backend.modules.items import queries, service
from backend.modules.items.router import router
from backend.modules.items.schemas import ItemOut
from backend.modules.items.seed import seed

module = Module(
    router=router,
    seed=seed,
    export={"items": owned(queries.ITEMS, "owner")},
    erase=by_cascade,
    statistics=queries.STATISTICS,
    inclusions=(Inclusion("users", "items", ItemOut, service.items_of),),
    depends_on=("audit", "storage_quotas", "users"),
    features=(
        Feature(
            "items",
            "Small private records.",
            {
                "read": "See items.",
                "write": "Make and change items.",
                "delete": "Delete items.",
                "admin": "All of this with other people's items.",
            },
            granted_to={
                "editor": ("read", "write", "delete"),
                "member": ("read", "write", "delete"),
                "viewer": ("read",),
            },
        ),
    ),
)
