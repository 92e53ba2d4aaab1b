from pydantic import Field

from backend.core.settings import SettingsBase

DAY = 86_400
# With less, pages would refresh all the time.
SHORTEST_SAFE_TTL = 30


class AuthSettings(SettingsBase):
    access_token_ttl: int = Field(
        1800,
        ge=1,
        le=DAY,
        description=f"Seconds an access token is valid for; {SHORTEST_SAFE_TTL} at least in "
        "staging and production.",
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
        description="Seconds in which the replaced refresh token still gets the same answer.",
    )
    max_sessions_per_user: int = Field(
        20, ge=1, le=1000, description="A sign-in beyond these ends the one unused for longest."
    )
    require_verified_email: bool = Field(
        False, description="Whether signing in waits until the e-mail address is verified."
    )
    jwt_issuer: str = Field("trellis", description="`iss` of access tokens.")
    jwt_audience: str = Field("trellis", description="`aud` of access tokens.")

    def unsafe(self) -> list[str]:
        if self.access_token_ttl >= SHORTEST_SAFE_TTL:
            return []
        return [f"ACCESS_TOKEN_TTL must be at least {SHORTEST_SAFE_TTL} seconds."]
