from backend.core.module import Module
from backend.modules.storage_quotas.erasure import erase
from backend.modules.storage_quotas.jobs import ERASE_COUNTS
from backend.modules.storage_quotas.settings import QuotaSettings

module = Module(
    settings=QuotaSettings,
    export={},  # Only sums of what other modules export.
    erase=erase,
    jobs=(ERASE_COUNTS,),
)
