"""What a caller may ask in all: the same rules for everybody, counted before each answer."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import structlog

from backend.core.limiting.memory import Memory
from backend.core.limiting.rules import Rule, Verdict, verdict
from backend.db.errors import is_unavailable
from backend.db.limits import SLICES, Count, Counts
from backend.db.reads import Reads

log = structlog.get_logger()

SWEEP_SECONDS = 10.0
KEY_BYTES = 16


class Keys:
    """Names of callers as they are stored: keyed hashes, of which nobody can be read."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def __call__(self, name: str) -> bytes:
        data = name.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self._secret, digest_size=KEY_BYTES).digest()
