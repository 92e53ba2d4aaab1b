"""Outgoing mail: the message, the provider protocol and the error."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Protocol

from email_validator import EmailNotValidError, validate_email

MAX_ID = 200
_ID = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
# Looser than the rule for accounts, but without the delimiters of envelopes and headers.
_ADDRESS = re.compile(r"[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]+@[\w-]+(\.[\w-]+)*")
# A line break would start another header; a lone surrogate has no UTF-8 encoding.
_UNSENDABLE = {"Cc", "Zl", "Zp", "Cs"}


class MailError(Exception):
    """A message that was not sent. `str()` has no address and no secret, so it may be logged.

    permanent   retrying this message is pointless; otherwise it may be sent later
    """

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


@dataclass(frozen=True)
class Message:
    """A mail to one address, with the same content as plain text and as HTML.

    id   a permanent identifier, such as `verify-email.<id of the token>`, by which providers and
         recipients recognise a repeated mail: letters, digits, `_`, `-` and single dots, at most
         200 characters

    Raise a permanent `MailError` if the id has another form, or the address or subject contains
    characters that could inject a header.
    """

    to: str
    subject: str
    text: str
    html: str
    id: str

    def __post_init__(self) -> None:
        if len(self.id) > MAX_ID or not _ID.fullmatch(self.id):
            raise MailError("The message id is invalid.", permanent=True)
        for name, value in (("address", self.to), ("subject", self.subject)):
            if any(unicodedata.category(character) in _UNSENDABLE for character in value):
                raise MailError(f"The {name} holds control characters.", permanent=True)


class Provider(Protocol):
    async def send(self, message: Message) -> None:
        """Send the message; raise `MailError` unless the mail service has accepted it."""


def ascii_domain(address: str) -> str:
    """Encode the address's domain: `ada@bücher.example` becomes `ada@xn--bcher-kva.example`.

    Raise a permanent `MailError` if the address is invalid.
    """
    if not _ADDRESS.fullmatch(address):
        raise MailError("The address is invalid.", permanent=True)
    local, _, domain = address.rpartition("@")
    if domain.isascii():
        return address
    try:
        parsed = validate_email(f"a@{domain}", check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise MailError("The address is invalid.", permanent=True) from None
    return f"{local}@{parsed.ascii_domain}"
