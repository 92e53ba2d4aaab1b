"""Settings of link patterns and of the registration mode."""

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from backend.modules.accounts.settings import LINKS, AccountSettings
from backend.modules.accounts.tokens import Purpose
from backend.modules.users.settings import UserSettings


@pytest.mark.parametrize(
    ("given", "kept", "site"),
    [
        ("https://app.example.com", "https://app.example.com", "app.example.com"),
        ("https://app.example.com/", "https://app.example.com", "app.example.com"),
        ("https://example.com/trellis/", "https://example.com/trellis", "example.com"),
        ("http://[::1]:3000", "http://[::1]:3000", "[::1]:3000"),
        ("http://127.0.0.1:5173", "http://127.0.0.1:5173", "127.0.0.1:5173"),
        (" HTTPS://App.Example.com:8443/Trellis/ ", "https://app.example.com:8443/Trellis", None),
        ("https://münchen.example", "https://münchen.example", "münchen.example"),
    ],
)
def test_the_address_of_the_front_end(given: str, kept: str, site: str | None) -> None:
    settings = AccountSettings(_env_file=None, frontend_url=given)
    assert settings.frontend_url == kept
    assert settings.site == (site or "app.example.com:8443")


@pytest.mark.parametrize(
    "given",
    [
        "app.example.com",
        "ftp://app.example.com",
        "javascript:alert(1)",
        "https://",
        "https://app.example.com/?page=",
        "https://app.example.com/#/app",
        "https://somebody@app.example.com",
        "https://app.example.com/a b",
        "https://app.example.com\nx",
        "https://[app",
        "https://*.example.com",
        "https://app.example.com:port",
        "https://app.example.com?",
        "https://app.example.com#",
        "https://a..example",
    ],
    ids=repr,
)
def test_what_is_no_address_of_a_front_end(given: str) -> None:
    with pytest.raises(ValidationError, match=r"such as https://app\.example\.com") as caught:
        AccountSettings(_env_file=None, frontend_url=given)
    assert given not in str(caught.value) or given in "https://app.example.com"


def test_names_of_modes_take_any_case() -> None:
    settings = UserSettings(_env_file=None, registration_mode="Strict")  # type: ignore[arg-type]
    assert settings.registration_mode == "strict"


def test_every_purpose_has_a_link() -> None:
    assert LINKS.keys() == set(get_args(Purpose))
    settings = AccountSettings(_env_file=None, frontend_url="https://app.example.com/x/")
    pages = {purpose: settings.link(purpose, "abc") for purpose in LINKS}
    reset = "https://app.example.com/x/reset-password#token=abc"
    verify = "https://app.example.com/x/verify-email#token=abc"
    assert pages == {
        "reset": reset,
        "invitation": reset,
        "verify": verify,
        "registration": verify,
        "email_change": verify,
    }
    assert settings.unsafe() == []


@pytest.mark.parametrize(
    ("pattern", "link"),
    [
        ("{frontend_url}/auth/reset?token={token}", "https://a.example/x/auth/reset?token=abc"),
        ("{frontend_url}/#/reset/{token}", "https://a.example/x/#/reset/abc"),
        ("{frontend_url}?reset={token}&from=mail", "https://a.example/x?reset=abc&from=mail"),
        ("https://other.example/{token}/reset", "https://other.example/abc/reset"),
        (" HTTPS://other.example:8443/{token} ", "HTTPS://other.example:8443/abc"),
    ],
)
@pytest.mark.parametrize(("purpose", "name"), LINKS.items())
def test_patterns_of_links(purpose: str, name: str, pattern: str, link: str) -> None:
    given: dict[str, Any] = {name: pattern, "frontend_url": "https://a.example/x"}
    settings = AccountSettings(_env_file=None, **given)
    assert settings.link(purpose, "abc") == link
    assert settings.unsafe() == []
    others = [settings.link(each, "abc") for each in LINKS if each != purpose]
    assert link not in others


@pytest.mark.parametrize(
    "pattern",
    [
        "{frontend_url}/reset",
        "{frontend_url}/{token}/{token}",
        "{frontend_url}/{token}/{email}",
        "{frontend_url}/{frontend_url}/{token}",
        "{frontend_url}{token}",
        "{frontend_url}.evil.example/{token}",
        "{frontend_url}/{ token }",
        "{frontend_url}/{token}{",
        "{frontend_url}/a b/{token}",
        '{frontend_url}/"{token}',
        "/reset/{token}",
        "app.example.com/{token}",
        "https://{token}.example.com/",
        "https://app.example.com:{token}/",
        "https://{token}@app.example.com/",
        "https:///{token}",
        "javascript:alert('{token}')",
        "myapp://reset/{token}",
        "https://{host}/{token}",
    ],
)
@pytest.mark.parametrize("name", LINKS.values())
def test_what_is_no_pattern_of_a_link(name: str, pattern: str) -> None:
    given: dict[str, Any] = {name: pattern}
    with pytest.raises(ValidationError, match=r"such as \{frontend_url\}/verify-email#token="):
        AccountSettings(_env_file=None, **given)


def test_an_unencrypted_link_is_unsafe() -> None:
    given: dict[str, Any] = {
        "frontend_url": "https://app.example.com",
        "link_invitation": "http://app.example.com/{token}",
    }
    (problem,) = AccountSettings(_env_file=None, **given).unsafe()
    assert problem == "LINK_INVITATION must begin with {frontend_url} or https://."
