"""Mail that leaves: what a message is, who can send one, and what can go wrong."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Protocol

from email_validator import EmailNotValidError, validate_email

MAX_ID = 200
_ID = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
# Much looser than what accounts accept, and yet nothing that an envelope or header would split at.
_ADDRESS = re.compile(r"[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]+@[\w-]+(\.[\w-]+)*")
# Line breaks of every kind would begin a header of their own; halves of characters have no bytes.
_UNSENDABLE = {"Cc", "Zl", "Zp", "Cs"}


class MailError(Exception):
    """A message that was not sent. The text holds no address and no secret, so it may be logged.

    permanent   this message will never be sent; otherwise try again later
    """

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


@dataclass(frozen=True)
class Message:
    """One mail to one address, in two forms that say the same.

    id   names this mail for ever, such as `verify-email.<id of the token>`: a repeated one is
         recognised by it. Letters, digits, `_`, `-` and single dots, at most 200.

    Raises a permanent `MailError` for what could break out of a header.
    """

    to: str
    subject: str
    text: str
    html: str
    id: str

    def __post_init__(self) -> None:
        if len(self.id) > MAX_ID or not _ID.fullmatch(self.id):
            raise MailError("The id of the message is not a name.", permanent=True)
        for name, value in (("address", self.to), ("subject", self.subject)):
            if any(unicodedata.category(character) in _UNSENDABLE for character in value):
                raise MailError(f"The {name} holds control characters.", permanent=True)


class Provider(Protocol):
    async def send(self, message: Message) -> None:
        """Hand the message over; `MailError` if nobody has taken it."""


def ascii_domain(address: str) -> str:
    """The address as mail servers know it: `ada@bücher.example` is `ada@xn--bcher-kva.example`."""
    if not _ADDRESS.fullmatch(address):
        raise MailError("The address is none.", permanent=True)
    local, _, domain = address.rpartition("@")
    if domain.isascii():
        return address
    try:
        found = validate_email(f"a@{domain}", check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise MailError("The address is none.", permanent=True) from None
    return f"{local}@{found.ascii_domain}"
