from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator

from backend.core.schemas import Email
from backend.core.settings import SettingsBase

SAFE_BCRYPT_COST = 12
SAFE_ADMIN_PASSWORD_LENGTH = 12


RegistrationMode = Literal["open", "strict", "closed"]


class UserSettings(SettingsBase):
    registration_mode: RegistrationMode = Field(
        "open",
        description="`open`: the response reveals that an address is taken. `strict`: only a mail "
        "to its owner does. `closed`: only administrators create accounts.",
    )
    password_min_length: int = Field(8, ge=8, le=64, description="Shortest password accepted.")
    bcrypt_cost: int = Field(
        SAFE_BCRYPT_COST, ge=4, le=16, description="Work per password hash; 12 is about 0.2 s."
    )
    first_admin_email: Email | None = Field(
        None, description="Made an administrator at first start, with the password below."
    )
    first_admin_password: SecretStr | None = Field(
        None, max_length=128, description="Password of the first administrator."
    )

    @field_validator("registration_mode", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    def unsafe(self) -> list[str]:
        problems = []
        if self.bcrypt_cost < SAFE_BCRYPT_COST:
            problems.append(f"BCRYPT_COST must be at least {SAFE_BCRYPT_COST}.")
        password = self.first_admin_password
        if password and len(password.get_secret_value()) < SAFE_ADMIN_PASSWORD_LENGTH:
            problems.append(
                f"FIRST_ADMIN_PASSWORD must have at least {SAFE_ADMIN_PASSWORD_LENGTH} characters."
            )
        return problems
