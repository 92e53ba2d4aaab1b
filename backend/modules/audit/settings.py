from pydantic import Field

from backend.core.settings import SettingsBase
from backend.modules.audit.models import FLOOR_DAYS


class AuditSettings(SettingsBase):
    audit_retention_days: int = Field(
        365, ge=FLOOR_DAYS, le=36_500, description="Days that audit events are kept."
    )
