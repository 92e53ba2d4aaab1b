from pydantic import Field, SecretStr

from backend.core.settings import SettingsBase

SAFE_BCRYPT_COST = 12


class UserSettings(SettingsBase):
    password_min_length: int = Field(8, ge=8, le=64, description="Shortest password accepted.")
    bcrypt_cost: int = Field(
        SAFE_BCRYPT_COST, ge=4, le=16, description="Work per password hash; 12 is about 0.2 s."
    )
    first_admin_email: str | None = Field(
        None, description="Made an administrator at first start, with the password below."
    )
    first_admin_password: SecretStr | None = Field(
        None, description="Password of the first administrator."
    )

    def unsafe(self) -> list[str]:
        if self.bcrypt_cost < SAFE_BCRYPT_COST:
            return [f"BCRYPT_COST must be at least {SAFE_BCRYPT_COST}."]
        return []
