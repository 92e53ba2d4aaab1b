from backend.core.context import Inclusion
from backend.core.features import OWN_ROWS, owned_feature
from backend.core.module import Module
from backend.core.personal_data import by_cascade, owned
from backend.modules.items import queries, service
from backend.modules.items.router import router
from backend.modules.items.schemas import ItemOut
from backend.modules.items.seed import seed

module = Module(
    router=router,
    seed=seed,
    owned={"GET /items": "items:admin", "/items/{id}": "items:admin"},
    export={"items": owned(queries.ITEMS, "owner")},
    erase=by_cascade,
    statistics=queries.STATISTICS,
    inclusions=(Inclusion("users", "items", ItemOut, service.items_of),),
    depends_on=("audit", "storage_quotas", "users"),
    features=(
        owned_feature(
            "items",
            "Small private records.",
            granted_to={"editor": OWN_ROWS, "member": OWN_ROWS, "viewer": ("read",)},
        ),
    ),
)
