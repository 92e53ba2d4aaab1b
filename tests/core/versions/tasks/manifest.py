from backend.core.module import Module
from backend.core.personal_data import owned
from tests.core.versions.tasks import queries, router, router_v2, service

module = Module(
    "tasks",
    router=router.router,
    versions=(router_v2.router,),
    export={"tasks": owned(queries.TASKS, "owner")},
    erase=service.erase_tasks,
)
