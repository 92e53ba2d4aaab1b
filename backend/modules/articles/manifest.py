from backend.core.features import Feature
from backend.core.module import Module
from backend.modules.articles.router import router
from backend.modules.articles.seed import seed

_OWN = ("read", "write", "publish", "delete")

module = Module(
    router=router,
    seed=seed,
    depends_on=("audit", "storage_quotas", "users"),
    features=(
        Feature(
            "articles",
            "Texts, drafted in private and published for everybody.",
            {
                "read": "See articles.",
                "write": "Draft and change articles.",
                "publish": "Publish, unpublish and archive articles.",
                "delete": "Delete articles.",
                "admin": "All of this with other people's articles.",
            },
            granted_to={"editor": (*_OWN, "admin"), "member": _OWN, "viewer": ("read",)},
        ),
    ),
)
