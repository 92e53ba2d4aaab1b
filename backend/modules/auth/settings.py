from pydantic import Field

from backend.core.settings import SettingsBase


class AuthSettings(SettingsBase):
    access_token_ttl: int = Field(
        1800, ge=30, le=86_400, description="Seconds an access token is good for."
    )
    jwt_issuer: str = Field("trellis", description="`iss` of access tokens.")
    jwt_audience: str = Field("trellis", description="`aud` of access tokens.")
