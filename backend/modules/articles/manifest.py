from backend.core.context import ExportPart
from backend.core.events import on
from backend.core.features import Feature
from backend.core.module import Module
from backend.core.personal_data import by_cascade
from backend.modules.articles import queries, service
from backend.modules.articles.router import router
from backend.modules.articles.schemas import ArticleOut
from backend.modules.articles.seed import seed
from backend.modules.articles.subscribers import (
    drop_articles_of_changed_author,
    drop_articles_of_deleted_author,
)
from backend.modules.users.events import ProfileChanged, UserDeleted

_OWN = ("read", "write", "publish", "delete")

module = Module(
    router=router,
    seed=seed,
    owned={"GET /articles": "articles:admin", "/articles/{id}": "articles:admin"},
    export={"articles": ExportPart(ArticleOut, service.export_articles)},
    erase=by_cascade,
    statistics=queries.STATISTICS,
    subscribers=(
        on(ProfileChanged, drop_articles_of_changed_author),
        on(UserDeleted, drop_articles_of_deleted_author),
    ),
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
