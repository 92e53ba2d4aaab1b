"""E-mail addresses and usernames: the key by which they are unique and found."""

import unicodedata
from contextlib import suppress

from backend.addresses.email_addresses import normal_email


def name_key(name: str) -> str:
    """The key of an e-mail address or username: the same for all its spellings.

    NFC, Unicode case folding, NFC; the domain of an address in its Unicode form. Computed here and
    not by the database, whose `lower()` depends on its locale. Applying it twice changes nothing.
    A key may have three times as many characters as the name. It is stable between versions of
    Unicode, because addresses hold assigned characters only and the folding of these never changes.
    """
    name = name.strip()
    # Validating an address costs a hundred times as much as folding, and changes nothing else here.
    if not name.isascii() or "xn--" in name.lower():
        with suppress(ValueError):
            name = normal_email(unicodedata.normalize("NFC", name))
    return folded(name)


def folded(text: str) -> str:
    """The text without regard to case and composition, as Unicode defines it."""
    composed = unicodedata.normalize("NFC", text)
    # Folding may decompose what it folds.
    return unicodedata.normalize("NFC", composed.casefold())
