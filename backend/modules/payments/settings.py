from pydantic import Field, SecretStr, field_validator

from backend.addresses.server_urls import check_service_url
from backend.core.settings import SettingsBase

STRIPE_URL = "https://api.stripe.com"


class PaymentSettings(SettingsBase):
    stripe_secret_key: SecretStr | None = Field(
        None, description="Secret key of a Stripe account. Unset: no payments."
    )
    stripe_webhook_secret: SecretStr | None = Field(
        None, description="Signing secret of the webhook endpoint at Stripe, `whsec_...`."
    )
    stripe_url: str = Field(
        STRIPE_URL,
        description="Address of Stripe's API, or of a server that behaves like it in development.",
    )

    @field_validator("stripe_secret_key", "stripe_webhook_secret")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value else ""
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise ValueError("must be a key of visible ASCII characters")
        return value

    @field_validator("stripe_url")
    @classmethod
    def _usable_url(cls, value: str) -> str:
        check_service_url(value)
        return value

    def unsafe(self) -> list[str]:
        if self.stripe_url.startswith("https://"):
            return []
        return ["STRIPE_URL must begin with https://, because requests contain the secret key."]
