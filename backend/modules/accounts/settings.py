from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from backend.addresses.host_names import canonical_host, check_port, split_port
from backend.core.settings import SettingsBase

TOKEN, FRONT_END = "{token}", "{frontend_url}"
SET_PASSWORD = f"{FRONT_END}/reset-password#token={TOKEN}"
VERIFY = f"{FRONT_END}/verify-email#token={TOKEN}"
# The setting with the link pattern of each purpose.
LINKS = {
    "reset": "link_reset_password",
    "invitation": "link_invitation",
    "verify": "link_verify_email",
    "registration": "link_registration",
    "email_change": "link_email_change",
}


def _check_page(text: str) -> str:
    """Return host and port of the URL of a page; raise `ValueError` if it is not one."""
    if any(each.isspace() or not each.isprintable() or each in '<>"\\^`{|}' for each in text):
        raise ValueError
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or "@" in parts.netloc:
        raise ValueError
    name, port = split_port(parts.netloc)
    canonical_host(name)
    check_port(port)
    return parts.netloc


def _pattern(value: str) -> str:
    value = value.strip()
    rest = value.removeprefix(FRONT_END)
    if rest.count(TOKEN) != 1:
        raise ValueError(f"must contain {TOKEN} once, such as {VERIFY}")
    sample = value
    if rest != value:
        if not rest.startswith(("/", "?", "#")):
            raise ValueError(f"must go on with /, ? or # after {FRONT_END}, such as {VERIFY}")
        sample = f"https://localhost{rest}"
    try:
        # A token within the host would determine the site that the link opens.
        if _check_page(sample.replace(TOKEN, "token")) != urlsplit(sample).netloc:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"must be an http:// or https:// address that contains {TOKEN} after its host, and no "
            f"other placeholder but {FRONT_END} at its beginning, such as {VERIFY}"
        ) from None
    return value


LinkPattern = Annotated[str, Field(max_length=1000), AfterValidator(_pattern)]


class AccountSettings(SettingsBase):
    frontend_url: str = Field(
        "http://localhost:3000",
        max_length=500,
        description="Address of the front end. Mails link to its pages.",
    )
    link_reset_password: LinkPattern = Field(
        SET_PASSWORD,
        description="Link to the page that sets a forgotten password. What follows `#` reaches no "
        "server and no log, unlike a path or a query.",
    )
    link_invitation: LinkPattern = Field(
        SET_PASSWORD, description="Link to the page on which an invited user sets a password."
    )
    link_verify_email: LinkPattern = Field(
        VERIFY, description="Link to the page that confirms the address of an account."
    )
    link_registration: LinkPattern = Field(
        VERIFY,
        description="The same for a registration where `REGISTRATION_MODE` is `strict`.",
    )
    link_email_change: LinkPattern = Field(
        VERIFY, description="Link to the page that confirms the new address of an account."
    )

    @field_validator("frontend_url")
    @classmethod
    def _address_of_pages(cls, value: str) -> str:
        value = value.strip()
        try:
            host = _check_page(value)
            if "?" in value or "#" in value:
                raise ValueError
        except ValueError:
            raise ValueError(
                "must be an http:// or https:// address without query and fragment, such as "
                "https://app.example.com"
            ) from None
        scheme, path = urlsplit(value).scheme, urlsplit(value).path
        return f"{scheme}://{host.lower()}{path.rstrip('/')}"

    @property
    def site(self) -> str:
        """The host of the front end, for the text of mails."""
        return urlsplit(self.frontend_url).netloc

    def link(self, purpose: str, token: str) -> str:
        """Return the link with a token of this purpose."""
        pattern: str = getattr(self, LINKS[purpose])
        return pattern.replace(FRONT_END, self.frontend_url).replace(TOKEN, token)

    def unsafe(self) -> list[str]:
        problems = []
        if not self.frontend_url.startswith("https://"):
            problems.append(
                "FRONTEND_URL must be the https:// address of your front end: mails link to its "
                "pages."
            )
        return problems + [
            f"{name.upper()} must begin with {FRONT_END} or https://."
            for name in LINKS.values()
            if not getattr(self, name).lower().startswith((FRONT_END, "https://"))
        ]
