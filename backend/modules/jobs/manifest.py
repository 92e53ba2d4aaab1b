from backend.core.features import Feature
from backend.core.module import Module
from backend.modules.jobs.jobs import CLEAN
from backend.modules.jobs.router import router
from backend.modules.jobs.service import check_worker

module = Module(
    router=router,
    features=(
        Feature(
            "jobs",
            "Work that is done later.",
            {"read": "See jobs.", "write": "Retry jobs that have failed."},
        ),
    ),
    readiness={"worker": check_worker},
    jobs=(CLEAN,),
)
