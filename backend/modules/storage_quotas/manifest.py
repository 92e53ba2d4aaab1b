from backend.core.module import Module
from backend.core.personal_data import by_cascade
from backend.modules.storage_quotas.settings import QuotaSettings

module = Module(
    depends_on=("users",),
    settings=QuotaSettings,
    export={},  # Only sums of what other modules export.
    erase=by_cascade,
)
