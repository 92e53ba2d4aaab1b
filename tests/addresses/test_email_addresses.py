"""E-mail addresses are normalized; the short way for plain ones has the same result."""

import pytest
from email_validator import validate_email
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.addresses.email_addresses import normal_email
from tests.examples import examples

LOCALS = st.text("abzAZ09_+-.'\" @é\N{COMBINING ACUTE ACCENT}", max_size=70)
LABELS = st.sampled_from(
    ["example", "EXAMPLE", "münchen", "xn--mnchen-3ya", "xn--", "ß", "-a", "", "l" * 62, "é" * 30]
)
DOMAINS = st.lists(LABELS, max_size=5).map(".".join) | st.text(
    "aB.-[]1:@()\n\N{IDEOGRAPHIC FULL STOP}", max_size=12
)


def by_the_library(address: str) -> str | None:
    """None for what is no address."""
    try:
        return validate_email(
            address, check_deliverability=False, test_environment=True, strict=True
        ).normalized
    except ValueError:
        return None


def found(address: str) -> str | None:
    try:
        return normal_email(address)
    except ValueError:
        return None


@given(LOCALS, DOMAINS)
@settings(deadline=None, max_examples=examples(200))
def test_the_shorter_way_finds_what_the_library_finds(local: str, domain: str) -> None:
    for name in (local, "a", "a.b"):
        address = f"{name}@{domain}"
        assert found(address) == by_the_library(address)


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.com",
        "ada@EXAMPLE.com",
        "ada@xn--mnchen-3ya.example",
        # Their case does not count, unlike that of others.
        "Postmaster@example.com",
        "Ada@example.com",
        f"{'a' * 64}@example.com",
        f"{'a' * 65}@example.com",
        # At the end of what an address may have: as written, in Unicode, and in ASCII.
        *(f"{'a' * size}@{'.'.join(['l' * 61] * 3)}.com" for size in range(60, 65)),
        *(f"{'a' * size}@{'.'.join(['é' * 26] * 4)}.com" for size in range(30, 64)),
        *(f"{'a' * size}@{'.'.join(['xn--' + 'mnchen-3ya'] * 15)}.com" for size in range(1, 64)),
        "ada@example.com\n",
        "ada@@example.com",
        "ada@[127.0.0.1]",
        "ada@example",
        "@example.com",
        "ada@",
    ],
)
def test_at_the_edges_too(address: str) -> None:
    assert found(address) == by_the_library(address)
