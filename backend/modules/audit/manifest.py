from backend.core.context import ExportPart
from backend.core.features import Feature
from backend.core.module import Module
from backend.modules.audit import service
from backend.modules.audit.jobs import RETENTION, SEAL
from backend.modules.audit.refusals import record_refusal
from backend.modules.audit.router import router
from backend.modules.audit.schemas import AuditEventOut
from backend.modules.audit.settings import AuditSettings

module = Module(
    router=router,
    features=(Feature("audit", "The record of what was done.", {"read": "Read the record."}),),
    settings=AuditSettings,
    export={"audit_events": ExportPart(AuditEventOut, service.export_events)},
    erase=service.keep_events,
    jobs=(SEAL, RETENTION),
    on_refusal=record_refusal,
)
