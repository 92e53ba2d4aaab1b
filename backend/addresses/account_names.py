"""The key by which e-mail addresses and usernames are unique and looked up."""

import unicodedata
from contextlib import suppress

from backend.addresses.email_addresses import normal_email


def name_key(name: str) -> str:
    """Return the key of an e-mail address or username, which is the same for all its spellings.

    NFC, Unicode case folding, NFC, with the domain of an address in its Unicode form. The function
    is idempotent. The database cannot compute it, because its `lower()` depends on its locale. A
    key can have three times as many characters as the name. It is stable between versions of
    Unicode, because addresses contain assigned characters only, whose folding never changes.
    """
    name = name.strip()
    # Validating an address takes a hundred times as long as folding; plain names do not need it.
    if not name.isascii() or "xn--" in name.lower():
        with suppress(ValueError):
            name = normal_email(unicodedata.normalize("NFC", name))
    return folded(name)


def folded(text: str) -> str:
    """Return the text in Unicode's case folding and NFC."""
    composed = unicodedata.normalize("NFC", text)
    # Folding can decompose characters.
    return unicodedata.normalize("NFC", composed.casefold())
