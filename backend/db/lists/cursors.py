"""Cursors: opaque, signed positions in a sorted list."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from backend.db.errors import InvalidCursorError

_SIGNATURE_BYTES = 16
_READERS: dict[type, Callable[[Any], Any]] = {
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    Decimal: Decimal,
    UUID: UUID,
    str: str,
    int: int,
    float: float,
}


def encode_cursor(values: Sequence[Any], *, scope: bytes, key: bytes) -> str:
    """Return a cursor: the sort values of a row, signed together with the `scope` of the list."""
    payload = json.dumps(values, default=_written, separators=(",", ":")).encode()
    signed = _signature(payload, scope, key) + payload
    return _text(signed)


def decode_cursor(cursor: str, types: Sequence[type], *, scope: bytes, key: bytes) -> list[Any]:
    """Return the sort values of a cursor.

    Raise `InvalidCursorError` unless it was signed with the same scope and key.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        signed = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise InvalidCursorError from None
    signature, payload = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
    if _text(signed) != cursor:
        # The last character has unused bits, and padding is ignored: a cursor has one spelling.
        raise InvalidCursorError
    if not hmac.compare_digest(signature, _signature(payload, scope, key)):
        raise InvalidCursorError
    # PostgreSQL parses the text of values of any other type.
    return [
        None if value is None else _READERS.get(kind, lambda text: text)(value)
        for kind, value in zip(types, json.loads(payload), strict=True)
    ]


def _text(signed: bytes) -> str:
    return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()


def _signature(payload: bytes, scope: bytes, key: bytes) -> bytes:
    return hmac.digest(key, scope + b"\0" + payload, hashlib.sha256)[:_SIGNATURE_BYTES]


def _written(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
