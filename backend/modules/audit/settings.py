from pydantic import Field

from backend.core.settings import SettingsBase

# The database lets nobody delete what is younger; migration 0003 says the same.
FLOOR_DAYS = 30


class AuditSettings(SettingsBase):
    audit_retention_days: int = Field(
        365, ge=FLOOR_DAYS, le=36_500, description="Days that audit events are kept."
    )
