"""Passwords: rules for new ones, and their hashes."""

import base64
import hashlib
import hmac
import re
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import bcrypt

from backend.addresses.account_names import folded
from backend.addresses.email_addresses import normal_email
from backend.core.context import Context
from backend.core.errors import FieldError
from backend.core.hash_scheduling.hash_queue import MAX_WAIT, Lane
from backend.core.hash_scheduling.hash_threads import HashingThreads, hashing_threads
from backend.core.security import key_id
from backend.modules.users.exceptions import PasswordRefusedError
from backend.modules.users.settings import UserSettings

MAX_LENGTH = 128
# bcrypt ignores all further bytes.
BCRYPT_BYTES = 72
# Salt and digest. Their last characters have unused bits, which must be zero.
_SALTED = r"\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}"
_OWN = re.compile(r"([0-9a-f]{8})(\$2b\$(?:0[4-9]|1[0-6])" + _SALTED + ")")
# A cost of 14 takes a second; one of 31 would block a thread for a day.
_IMPORTED = re.compile(r"\$2[aby]\$(0[4-9]|1[0-4])" + _SALTED)
# Hashes that a password can match, as a regular expression for Python and PostgreSQL.
USABLE = f"^(?:{_OWN.pattern}|{_IMPORTED.pattern})$"
# Names of schemes by the prefix of their hashes, for the log.
_SCHEMES = {
    "$argon2id$": "argon2id",
    "$argon2": "argon2",
    "argon2": "argon2",
    "$pbkdf2": "pbkdf2",
    "pbkdf2_": "pbkdf2",
    "$scrypt$": "scrypt",
    "scrypt": "scrypt",
    "$1$": "md5-crypt",
    "$5$": "sha256-crypt",
    "$6$": "sha512-crypt",
    "$y$": "yescrypt",
    "$P$": "phpass",
    "$H$": "phpass",
    "bcrypt_sha256$": "bcrypt-sha256",
    "$bcrypt-sha256$": "bcrypt-sha256",
    "$2": "bcrypt, malformed or of a cost above 14",
}


@dataclass(frozen=True)
class PasswordHasher:
    """A hasher of passwords: bcrypt over a keyed digest.

    The digest makes all characters count, as bcrypt reads 72 bytes only. Its key makes a stolen
    table useless on its own. A stored hash begins with the id of the key: the first of `keys` is
    the current one, the others are former ones. Imported plain bcrypt hashes verify as well, until
    `renewed` replaces them.
    """

    keys: tuple[bytes, ...]
    cost: int
    threads: HashingThreads = field(default_factory=hashing_threads)

    async def hash(self, password: str, lane: Lane = "sign-in") -> str:
        key = self.keys[0]
        digest, salt = _digest(key, password), bcrypt.gensalt(self.cost)
        hashed = await self.threads.run(lambda: bcrypt.hashpw(digest, salt), lane)
        return key_id(key) + hashed.decode()

    async def verify(self, password: str, stored: str | None) -> bool:
        """Return whether the password matches; without a usable hash, False after the same work."""
        return await self.threads.compare(self._comparison(password, stored or ""))

    def _comparison(self, password: str, stored: str) -> Callable[[], bool]:
        own = _OWN.fullmatch(stored)
        key = self._key_of(own[1]) if own else None
        if own and key:
            return partial(bcrypt.checkpw, _digest(key, password), own[2].encode())
        if imported := _IMPORTED.fullmatch(stored):
            return partial(_check_imported, password, imported, self.cost)
        return partial(_work, self.cost)

    def unusable_scheme(self, stored: str) -> str | None:
        """Return the scheme of a hash that no password can match; None for a usable one.

        The text is for the log and contains no part of the hash.
        """
        if own := _OWN.fullmatch(stored):
            return None if self._key_of(own[1]) else "bcrypt with the key of an unknown SECRET_KEY"
        if _IMPORTED.fullmatch(stored):
            return None
        known = (name for start, name in _SCHEMES.items() if stored.startswith(start))
        return next(known, "unknown" if stored else "empty")

    def _key_of(self, name: str) -> bytes | None:
        return next((each for each in self.keys if key_id(each) == name), None)

    async def renewed(self, password: str, stored: str) -> str | None:
        """Return a new hash of a correct password if the old one has another key or cost."""
        if stored.startswith(f"{key_id(self.keys[0])}$2b${self.cost:02}$"):
            return None
        return await self.hash(password)


def _digest(key: bytes, password: str) -> bytes:
    return base64.b64encode(hmac.digest(key, _normal(password), hashlib.sha256))


def _normal(password: str) -> bytes:
    return unicodedata.normalize("NFC", password).encode()


def _check_imported(password: str, imported: re.Match[str], cost: int) -> bool:
    """Compare like other bcrypt installations, by the first 72 bytes only.

    A wrong password takes as long as with a hash of `cost`, unless the imported one costs more:
    the time must not reveal which addresses have an account.
    """
    if bcrypt.checkpw(_normal(password)[:BCRYPT_BYTES], imported[0].encode()):
        return True
    # Each step of the cost doubles the work, so these hashes and the comparison add up to `cost`.
    for each in range(int(imported[1]), cost):
        _work(each)
    return False


def _work(cost: int) -> bool:
    """Compute a hash for its time only; return False, as no password matches."""
    bcrypt.hashpw(b"", f"$2b${cost:02}${'.' * 22}".encode())
    return False


def hasher_of(context: Context) -> PasswordHasher:
    """Return the hasher of this application."""
    return context.get_or_create(_make_hasher)


@asynccontextmanager
async def hashing(context: Context) -> AsyncIterator[None]:
    """Stop the hashing threads when the application stops."""
    try:
        yield
    finally:
        hasher_of(context).threads.executor.shutdown(wait=False)


def _make_hasher(context: Context) -> PasswordHasher:
    cost = context.settings_of(UserSettings).bcrypt_cost
    # Less than a request may take, so that the queue ends the wait and not the time limit.
    max_wait = min(MAX_WAIT, 0.8 * context.settings.request_timeout)
    return PasswordHasher(context.keys("passwords"), cost, hashing_threads(max_wait))


def ensure_acceptable(
    password: str, *, minimum: int, names: Iterable[str | None], field: str = "password"
) -> None:
    """Raise `PasswordRefusedError` if the password is too short, too common, or one of `names`.

    The local part of an e-mail address counts as a name as well.
    """
    password = unicodedata.normalize("NFC", password)
    if len(password) < minimum:
        raise PasswordRefusedError(field, "too_short", f"Must have at least {minimum} characters.")
    lowered = folded(password)
    personal = {folded(part) for name in names if name for part in (name, name.partition("@")[0])}
    if lowered in personal:
        raise PasswordRefusedError(field, "too_personal", "Must not be your own name or address.")
    if lowered in common_passwords():
        raise PasswordRefusedError(field, "too_common", "Is one of the most common passwords.")


async def hash_new_password(
    context: Context,
    password: str,
    *,
    names: Iterable[str | None],
    field: str = "password",
    lane: Lane = "sign-in",
) -> str:
    """Return the hash of a new password; raise `PasswordRefusedError` before any hashing.

    In the lane of registrations, hashing waits behind sign-ins.
    """
    minimum = context.settings_of(UserSettings).password_min_length
    ensure_acceptable(password, minimum=minimum, names=names, field=field)
    return await hasher_of(context).hash(password, lane)


def password_errors(
    context: Context, password: str, *, names: Iterable[str | None], field: str = "password"
) -> list[FieldError]:
    """Return the errors that `hash_new_password` would raise, without hashing."""
    minimum = context.settings_of(UserSettings).password_min_length
    try:
        ensure_acceptable(password, minimum=minimum, names=names, field=field)
    except PasswordRefusedError as refused:
        return list(refused.errors)
    return []


def new_account_errors(context: Context, sent: Mapping[str, Any]) -> list[FieldError]:
    """Return the errors of the password in the body of a new account, without hashing."""
    if sent.get("password") is None:
        return []
    email, username = sent.get("email"), (sent.get("username") or "").strip()
    names = (email and normal_email(email.strip()), username)
    return password_errors(context, sent["password"], names=names)


@cache
def common_passwords() -> frozenset[str]:
    return frozenset((Path(__file__).parent / "common_passwords.txt").read_text().split())
