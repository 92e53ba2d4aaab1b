"""The secret of this installation, and keys derived from it."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from backend.core.settings import Settings


def secret_keys(settings: Settings) -> tuple[bytes, ...]:
    """Return `SECRET_KEY`, then the previous keys.

    Without `SECRET_KEY` (development and test only), the key is generated once per data folder.
    """
    if settings.secret_key is not None:
        current = settings.secret_key.get_secret_value()
    else:
        current = stored_secret(settings.data_dir / "secret_key")
    previous = settings.secret_key_previous
    former = previous.get_secret_value().split(",") if previous else []
    return tuple(key.strip().encode() for key in (current, *former) if key.strip())


def stored_secret(path: Path) -> str:
    """Return the secret in the file `path`; generate it if missing, readable by the owner only."""
    if path.exists():
        return path.read_text()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32))
    try:
        # If several processes start at the same time, all use the secret of the first to link.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text()


def derive_key(secret: bytes, purpose: str) -> bytes:
    """Return a 32-byte key for one purpose, so that no two purposes share a key."""
    return hmac.digest(secret, f"trellis/{purpose}".encode(), hashlib.sha256)


def key_id(key: bytes) -> str:
    """Return a name for the key that does not disclose it."""
    return hashlib.sha256(key).hexdigest()[:8]
