from backend.core.module import Module
from backend.modules.repeated_requests import service
from backend.modules.repeated_requests.jobs import PURGE_KEYS

module = Module(
    response_store=service.RESPONSES,
    # What these responses show is in the exports of the modules that made them.
    export={},
    erase=service.erase,
    jobs=(PURGE_KEYS,),
)
