from backend.core.module import Module
from backend.modules.storage_quotas.settings import QuotaSettings

module = Module(depends_on=("users",), settings=QuotaSettings)
