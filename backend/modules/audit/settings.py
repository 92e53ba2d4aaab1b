from pydantic import Field

from backend.core.settings import SettingsBase

# A trigger of migration 0003 refuses the deletion of younger events.
FLOOR_DAYS = 30


class AuditSettings(SettingsBase):
    audit_retention_days: int = Field(
        365, ge=FLOOR_DAYS, le=36_500, description="Days that audit events are kept."
    )
