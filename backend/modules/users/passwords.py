"""Passwords: which are accepted, how they are kept, and where the work is done."""

import asyncio
import base64
import hashlib
import hmac
import os
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import bcrypt

from backend.core.context import Context
from backend.core.errors import ServiceUnavailableError
from backend.core.security import key_id
from backend.modules.users.exceptions import PasswordRefusedError
from backend.modules.users.settings import UserSettings

MAX_LENGTH = 128
# Behind one thread per spare core, more than this would wait for longer than a client does.
MAX_WAITING = 64


def _yield_to_requests() -> None:
    # A hash is a quarter of a second of pure work; at equal priority it would take that
    # time from the event loop. Linux has priorities by thread.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)


_pool = ThreadPoolExecutor(
    max_workers=max(1, (os.cpu_count() or 1) - 1),
    thread_name_prefix="bcrypt",
    initializer=_yield_to_requests,
)


_places = asyncio.Semaphore(MAX_WAITING)

T = TypeVar("T")


async def _in_pool(work: Callable[[], T]) -> T:
    if _places.locked():
        raise ServiceUnavailableError
    async with _places:
        return await asyncio.get_running_loop().run_in_executor(_pool, work)


@dataclass(frozen=True)
class PasswordHasher:
    """bcrypt over a keyed digest, so that no character is cut off and a stolen table is not enough.

    bcrypt itself takes 72 bytes at most. What is stored begins with the id of the key: the first
    of `keys` is the present one, the others were it before.
    """

    keys: tuple[bytes, ...]
    cost: int

    async def hash(self, password: str) -> str:
        key = self.keys[0]
        digest, salt = _digest(key, password), bcrypt.gensalt(self.cost)
        return key_id(key) + (await _in_pool(lambda: bcrypt.hashpw(digest, salt))).decode()

    async def verify(self, password: str, stored: str | None) -> bool:
        """Compare; without a hash, or its key, do the same work and answer False."""
        name, separator, rest = (stored or "").partition("$")
        # Without an id it is older than those.
        key = next((each for each in self.keys if name in ("", key_id(each))), None)
        if key is None or stored is None:
            digest = _digest(self.keys[0], password)
            salt = f"$2b${self.cost:02}${'.' * 22}".encode()
            await _in_pool(lambda: bcrypt.hashpw(digest, salt))
            return False
        digest = _digest(key, password)
        return await _in_pool(lambda: bcrypt.checkpw(digest, (separator + rest).encode()))

    async def renewed(self, password: str, stored: str) -> str | None:
        """A new hash of a right password, if the old one has another key or cost."""
        if stored.startswith(f"{key_id(self.keys[0])}$2b${self.cost:02}$"):
            return None
        return await self.hash(password)


def _digest(key: bytes, password: str) -> bytes:
    normal = unicodedata.normalize("NFC", password).encode()
    return base64.b64encode(hmac.digest(key, normal, hashlib.sha256))


def hasher_of(context: Context) -> PasswordHasher:
    return PasswordHasher(context.keys("passwords"), context.settings_of(UserSettings).bcrypt_cost)


def check_password(
    password: str, *, minimum: int, names: Iterable[str | None], field: str = "password"
) -> None:
    """Raise `PasswordRefusedError` for one that is too short, too common, or one of `names`.

    Of an e-mail address among the names, the part before the @ counts as well.
    """
    password = unicodedata.normalize("NFC", password)
    if len(password) < minimum:
        raise PasswordRefusedError(field, "too_short", f"Must have at least {minimum} characters.")
    lowered = password.casefold()
    known = {part.casefold() for name in names if name for part in (name, name.partition("@")[0])}
    if lowered in known:
        raise PasswordRefusedError(field, "too_personal", "Must not be your own name or address.")
    if lowered in common_passwords():
        raise PasswordRefusedError(field, "too_common", "Is one of the most common passwords.")


@cache
def common_passwords() -> frozenset[str]:
    return frozenset((Path(__file__).parent / "common_passwords.txt").read_text().split())
