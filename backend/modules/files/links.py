"""Links to private files: the key, the time at which the link expires, and a signature."""

import base64
import hashlib
import hmac
import re
import secrets
import time
from datetime import timedelta
from urllib.parse import urlencode

from backend.core.context import Context

PATH = "/files/"
_KEY = re.compile(r"[A-Za-z0-9_-]{43}")


def new_key() -> str:
    """Return an unguessable key, of 256 bits."""
    return secrets.token_urlsafe(32)


def is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None


def signed_path(context: Context, key: str, *, expires_in: timedelta) -> str:
    expires = str(int(time.time() + expires_in.total_seconds()))
    signature = _signature(context.key("file links"), key, expires)
    return f"{PATH}{key}?{urlencode({'expires': expires, 'signature': signature})}"


def is_signed(context: Context, key: str, expires: str, signature: str) -> bool:
    """Return whether this is a link of `signed_path` that has not expired."""
    expected = [_signature(secret, key, expires) for secret in context.keys("file links")]
    given = signature.encode()
    # All are compared, so that the time does not tell which key was used.
    matches = [hmac.compare_digest(given, each.encode()) for each in expected]
    return any(matches) and int(expires) > time.time()


def _signature(secret: bytes, key: str, expires: str) -> str:
    digest = hmac.digest(secret, f"{key}:{expires}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
