from backend.core.module import Module
from backend.modules.repeated_requests import service
from backend.modules.repeated_requests.jobs import PURGE_KEYS

module = Module(
    depends_on=("storage_quotas",),
    response_store=service.RESPONSES,
    # The exports of other modules contain the data that these responses show.
    export={},
    erase=service.erase,
    jobs=(PURGE_KEYS,),
)
