"""Refresh tokens, which are opaque to clients.

A token is session id, generation, 256-bit secret and a MAC, the tag. The successor is an HMAC of
the predecessor, so it can be sent again to whoever presents the predecessor without being stored.
The tag distinguishes a genuine old token (its reuse ends the session) from a forged one.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from uuid import UUID

from backend.core.context import Context
from backend.modules.auth.exceptions import RefreshTokenInvalidError

_SECRET, _TAG = 32, 16
_LENGTH = 16 + 4 + _SECRET + _TAG
# 91 characters are 546 bits. The two unused bits must be zero, so that a token has one spelling.
_TEXT = re.compile(r"[A-Za-z0-9_-]{90}[AEIMQUYcgkosw048]")
_MAX_GENERATION = 2**32 - 1


@dataclass(frozen=True)
class RefreshToken:
    session_id: UUID
    generation: int
    secret: bytes

    @property
    def digest(self) -> bytes:
        """The stored form of the token. The secret is random, so a fast hash is enough."""
        return hashlib.sha256(self.secret).digest()

    def successor(self, key: bytes) -> "RefreshToken":
        generation = min(self.generation + 1, _MAX_GENERATION)
        content = b"next" + self.session_id.bytes + generation.to_bytes(4, "big") + self.secret
        return RefreshToken(self.session_id, generation, hmac.digest(key, content, hashlib.sha256))

    def text(self, key: bytes) -> str:
        """Return the token for the client."""
        return base64.urlsafe_b64encode(self._body + self._tag(key)).rstrip(b"=").decode()

    @property
    def _body(self) -> bytes:
        return self.session_id.bytes + self.generation.to_bytes(4, "big") + self.secret

    def _tag(self, key: bytes) -> bytes:
        return hmac.digest(key, b"tag" + self._body, hashlib.sha256)[:_TAG]

    def is_tagged(self, key: bytes, tag: bytes) -> bool:
        return hmac.compare_digest(self._tag(key), tag)


def first_token(session_id: UUID) -> RefreshToken:
    return RefreshToken(session_id, 0, secrets.token_bytes(_SECRET))


def read_token(context: Context, text: str) -> RefreshToken:
    """Return the token in `text`, which may be replaced or of an ended session.

    Raise `RefreshTokenInvalidError` unless it was issued by this installation.
    """
    if not _TEXT.fullmatch(text):
        raise RefreshTokenInvalidError
    try:
        raw = base64.urlsafe_b64decode(f"{text}=")
    except binascii.Error:
        raise RefreshTokenInvalidError from None
    assert len(raw) == _LENGTH
    token = RefreshToken(
        UUID(bytes=raw[:16]), int.from_bytes(raw[16:20], "big"), raw[20 : 20 + _SECRET]
    )
    if not any(token.is_tagged(key, raw[-_TAG:]) for key in context.keys("refresh tokens")):
        raise RefreshTokenInvalidError
    return token
