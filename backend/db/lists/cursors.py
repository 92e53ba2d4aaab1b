"""Cursors: opaque, signed positions in a sorted list."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

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


def cursor_scope(name: str, sort: Sequence[str], values: Mapping[str, Any]) -> bytes:
    """Return the scope of cursors: a list, its sort, and the values of its filters and scopes."""
    return _json([name, sort, values])


def encode_cursor(values: Sequence[Any], *, scope: bytes, key: bytes) -> str:
    """Return a cursor: the sort values of a row, signed together with the `scope` of the list.

    `key` has at most 64 bytes.
    """
    # JSON has no infinity.
    payload = _json([repr(value) if type(value) is float else value for value in values])
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
    # Keyed BLAKE2 is an authentication code by itself, and takes a third of the time of an HMAC.
    signed = scope + b"\0" + payload
    return hashlib.blake2b(signed, digest_size=_SIGNATURE_BYTES, key=key).digest()


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        # An integer has more than 64 bits.
        return json.dumps(value, default=str, sort_keys=True).encode()
