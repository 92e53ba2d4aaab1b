from backend.core.module import Module
from backend.core.personal_data import owned
from backend.modules.files import queries, service
from backend.modules.files.erasure import erase
from backend.modules.files.jobs import REMOVE, SWEEP
from backend.modules.files.router import router
from backend.modules.files.settings import FileSettings

module = Module(
    router=router,
    depends_on=("storage_quotas",),
    versioned=False,
    settings=FileSettings,
    readiness={"storage": service.check_storage},
    jobs=(REMOVE, SWEEP),
    export={"files": owned(queries.FILES, "owner")},
    erase=erase,
)
