from pydantic import Field

from backend.core.settings import SettingsBase

DAY = 86_400


class AuthSettings(SettingsBase):
    access_token_ttl: int = Field(
        1800, ge=30, le=DAY, description="Seconds an access token is good for."
    )
    session_idle_ttl: int = Field(
        30 * DAY, ge=60, description="Seconds a session lasts without being refreshed."
    )
    session_absolute_ttl: int = Field(
        90 * DAY, ge=60, description="Seconds a session lasts, however often it is refreshed."
    )
    refresh_grace: int = Field(
        10,
        ge=0,
        le=60,
        description="Seconds in which the refresh token before the present one is answered alike.",
    )
    max_sessions_per_user: int = Field(
        20, ge=1, le=1000, description="A sign-in beyond these ends the one unused for longest."
    )
    require_verified_email: bool = Field(
        False, description="Whether signing in waits until the e-mail address is verified."
    )
    jwt_issuer: str = Field("trellis", description="`iss` of access tokens.")
    jwt_audience: str = Field("trellis", description="`aud` of access tokens.")
