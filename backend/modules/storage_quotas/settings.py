from pydantic import Field

from backend.core.settings import SettingsBase


class QuotaSettings(SettingsBase):
    storage_quota_per_user: int = Field(
        100 * 1024 * 1024,
        ge=1024 * 1024,
        description="Maximal bytes of the texts of a user's items and articles and of their files; "
        "beyond it, 422. Texts of at most 256 bytes do not count, but creation in bulk counts each "
        "item of the user as 1 KiB.",
    )
