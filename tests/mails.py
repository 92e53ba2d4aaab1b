"""Mails as the development mailbox shows them."""

from typing import Any

Mail = dict[str, Any]


def token_of(mail: Mail) -> str:
    (link,) = mail["links"]
    token: str = link.partition("#token=")[2]
    assert len(token) == 43, "256 bits"
    return token
