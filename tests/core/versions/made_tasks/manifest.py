from backend.core.module import Module
from backend.core.personal_data import owned
from tests.core.versions.made_tasks import queries, router, router_v2, service

module = Module(
    "made_tasks",
    router=router.router,
    versions=(router_v2.router,),
    export={"made_tasks": owned(queries.TASKS, "owner")},
    erase=service.erase_tasks,
)
