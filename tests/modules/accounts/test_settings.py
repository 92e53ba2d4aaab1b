"""Where links lead to, and who may register."""

import pytest
from pydantic import ValidationError

from backend.modules.accounts.settings import AccountSettings


@pytest.mark.parametrize(
    ("given", "kept", "site"),
    [
        ("https://app.example.com", "https://app.example.com", "app.example.com"),
        ("https://app.example.com/", "https://app.example.com", "app.example.com"),
        ("https://example.com/trellis/", "https://example.com/trellis", "example.com"),
        ("http://127.0.0.1:5173", "http://127.0.0.1:5173", "127.0.0.1:5173"),
        ("https://münchen.example", "https://münchen.example", "münchen.example"),
    ],
)
def test_the_address_of_the_front_end(given: str, kept: str, site: str) -> None:
    settings = AccountSettings(_env_file=None, frontend_url=given)
    assert (settings.frontend_url, settings.site) == (kept, site)


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
    ],
    ids=repr,
)
def test_what_is_no_address_of_a_front_end(given: str) -> None:
    with pytest.raises(ValidationError):
        AccountSettings(_env_file=None, frontend_url=given)


def test_names_of_modes_take_any_case() -> None:
    settings = AccountSettings(_env_file=None, registration_mode="Strict")  # type: ignore[arg-type]
    assert settings.registration_mode == "strict"
