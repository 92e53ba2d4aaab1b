"""E-mail addresses in their normal form."""

import re
from functools import lru_cache

from email_validator import ValidatedEmail, validate_email

# A local part that has one spelling only. Some names, such as Postmaster, have another in capitals.
_PLAIN = re.compile(r"(?=[^@]{1,64}@)([a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*)@([^@]+)")
_LONGEST_EMAIL = 254  # bytes, in each of its forms


def normal_email(value: str) -> str:
    """The one spelling of an address: NFC, and the domain in lower case and Unicode.

    Raises ValueError for what is no address.
    """
    if plain := _PLAIN.fullmatch(value):
        # Nine tenths of the work are for the domain, which many addresses share.
        local, (domain, ascii_domain) = plain[1], _domain_forms(plain[2])
        forms = (value, f"{local}@{domain}", f"{local}@{ascii_domain}")
        if all(len(form.encode()) <= _LONGEST_EMAIL for form in forms):
            return forms[1]
    return _validated(value).normalized


@lru_cache(1024)
def _domain_forms(domain: str) -> tuple[str, str]:
    found = _validated(f"a@{domain}")
    return found.domain, found.ascii_domain


def _validated(email: str) -> ValidatedEmail:
    # Reserved names such as .test are fine: nothing is delivered while validating.
    return validate_email(email, check_deliverability=False, test_environment=True, strict=True)
