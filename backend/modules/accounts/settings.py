from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from backend.core.settings import SettingsBase

RegistrationMode = Literal["open", "strict", "closed"]


class AccountSettings(SettingsBase):
    registration_mode: RegistrationMode = Field(
        "open",
        description="`open`: a taken address is told to whoever registers with it. `strict`: it "
        "is told by mail only, to its owner. `closed`: only administrators make accounts.",
    )
    frontend_url: str = Field(
        "http://localhost:3000",
        max_length=500,
        description="Where the pages `/reset-password` and `/verify-email` are, to which mails "
        "link.",
    )

    @field_validator("registration_mode", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("frontend_url")
    @classmethod
    def _address_of_pages(cls, value: str) -> str:
        parts = urlsplit(value)
        extra = parts.query or parts.fragment or "@" in parts.netloc
        if parts.scheme not in ("http", "https") or not parts.hostname or extra:
            raise ValueError("must be like https://app.example.com")
        if any(character.isspace() or not character.isprintable() for character in value):
            raise ValueError("must hold no spaces")
        return value.rstrip("/")

    @property
    def site(self) -> str:
        """What mails call this installation."""
        return urlsplit(self.frontend_url).netloc

    def unsafe(self) -> list[str]:
        if self.frontend_url.startswith("https://"):
            return []
        return [
            "FRONTEND_URL must be the https:// address of your front end: mails link to its pages."
        ]
