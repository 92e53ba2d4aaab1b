from backend.core.features import Feature
from backend.core.module import Module
from backend.modules.audit.jobs import RETENTION, SEAL
from backend.modules.audit.refusals import record_refusal
from backend.modules.audit.router import router
from backend.modules.audit.settings import AuditSettings

module = Module(
    router=router,
    features=(Feature("audit", "The record of what was done.", {"read": "Read the record."}),),
    settings=AuditSettings,
    jobs=(SEAL, RETENTION),
    on_refusal=record_refusal,
)
