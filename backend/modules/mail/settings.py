from email.utils import getaddresses, parseaddr
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from backend.addresses.server_urls import check_escapes
from backend.core.settings import SettingsBase
from backend.integrations.email import MailError, ascii_domain
from backend.integrations.email.smtp_url import parse_smtp_url
from backend.product import TITLE

ProviderName = Literal["smtp", "resend", "mailbox"]
NEEDS: dict[str, str] = {"smtp": "smtp_url", "resend": "resend_api_key"}
LOCAL_SENDER = f"{TITLE} <no-reply@localhost>"


class MailSettings(SettingsBase):
    smtp_url: SecretStr | None = Field(
        None,
        description="`smtp://user:password@host:587` (STARTTLS) or `smtps://...:465` (TLS). "
        "Write what is special in a password as in any URL: `@` is `%40`.",
    )
    resend_api_key: SecretStr | None = Field(
        None, description="Key of resend.com, for EMAIL_PROVIDER=resend."
    )
    email_provider: ProviderName | None = Field(
        None,
        description="How mail leaves: smtp, resend, or mailbox (kept for /dev/mailbox, in "
        "development and test only). Unset: smtp where SMTP_URL is set, else mailbox.",
    )
    email_from: str = Field(
        LOCAL_SENDER,
        max_length=320,
        description="Sender of all mail, an address with or without a name.",
    )

    @field_validator("smtp_url")
    @classmethod
    def _usable_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            check_escapes(value.get_secret_value())
            parse_smtp_url(value.get_secret_value())
        return value

    @field_validator("resend_api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value else ""
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise ValueError("must be a key of visible ASCII characters")
        return value

    @field_validator("email_provider", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("email_provider")
    @classmethod
    def _complete(cls, value: ProviderName | None, info: ValidationInfo) -> ProviderName | None:
        needed = NEEDS.get(value or "")
        # A value that was refused is missing from the data and has an error of its own.
        if needed and needed in info.data and not info.data[needed]:
            raise ValueError(f"{value} needs {needed.upper()}")
        return value

    @field_validator("email_from")
    @classmethod
    def _one_address(cls, value: str) -> str:
        try:
            ((_, address),) = getaddresses([value])
            ascii_domain(address)
            if value.isprintable():
                return value
        except (MailError, ValueError):
            pass
        raise ValueError(f"must be like {TITLE} <no-reply@example.com>")

    @property
    def provider(self) -> ProviderName:
        return self.email_provider or ("smtp" if self.smtp_url else "mailbox")

    def unsafe(self) -> list[str]:
        found = []
        if self.email_provider == "mailbox":
            found.append("EMAIL_PROVIDER must be smtp or resend, so that mail reaches people.")
        elif self.provider == "mailbox":
            found.append(
                "SMTP_URL is missing: no mail could leave, not even for a forgotten password. "
                "Set it, or EMAIL_PROVIDER=resend and RESEND_API_KEY."
            )
        if parseaddr(self.email_from)[1].endswith("@localhost"):
            found.append("EMAIL_FROM must be an address that your mail server may send from.")
        return found
