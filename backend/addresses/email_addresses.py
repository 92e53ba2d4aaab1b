"""Normalization of e-mail addresses."""

import re
from functools import lru_cache

from email_validator import ValidatedEmail, validate_email

# A local part with one spelling only; the validator lowers some others, such as Postmaster.
_PLAIN = re.compile(r"(?=[^@]{1,64}@)([a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*)@([^@]+)")
_LONGEST_EMAIL = 254  # bytes, in each of its forms


def normal_email(value: str) -> str:
    """Return an address in NFC, with its domain in lower case and Unicode.

    Raise ValueError if it is not a valid address.
    """
    if plain := _PLAIN.fullmatch(value):
        # The domain, which many addresses share, takes nine tenths of the time.
        local, (domain, ascii_domain) = plain[1], _domain_forms(plain[2])
        forms = (value, f"{local}@{domain}", f"{local}@{ascii_domain}")
        if all(len(form.encode()) <= _LONGEST_EMAIL for form in forms):
            return forms[1]
    return _validated(value).normalized


@lru_cache(1024)
def _domain_forms(domain: str) -> tuple[str, str]:
    address = _validated(f"a@{domain}")
    return address.domain, address.ascii_domain


def _validated(email: str) -> ValidatedEmail:
    # Reserved names such as .test are valid, because nothing is delivered here.
    return validate_email(email, check_deliverability=False, test_environment=True, strict=True)
