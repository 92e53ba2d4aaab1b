"""Digests and signatures of events and seals. Their format must never change.

Each value is preceded by its length, so that no two lists of values make the same bytes. Rows are
hashed as the texts that PostgreSQL prints, so nothing is lost between them and Python.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Text, Uuid, any_, bindparam, cast, extract, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.modules.audit.models import AuditEvent

DIGEST_BYTES = 32
# The digest of an event that was deleted before it was sealed.
NOTHING = bytes(DIGEST_BYTES)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXTS = (
    "id",
    "actor_id",
    "action",
    "target_type",
    "target_id",
    "outcome",
    "ip",
    "user_agent",
    "request_id",
    "changes",
)
_EVENTS = select(
    *(cast(getattr(AuditEvent, name), Text) for name in _TEXTS),
    cast(extract("epoch", col(AuditEvent.occurred_at)), Text),
).where(col(AuditEvent.id) == any_(bindparam("ids", type_=ARRAY(Uuid))))


async def digests_of(session: AsyncSession, ids: Iterable[UUID]) -> dict[str, bytes]:
    """Return the digests of these events by id, without those that do not exist."""
    connection = await session.connection()
    rows = await connection.execute(_EVENTS, {"ids": list(ids)})
    return {row[0]: _digest("trellis audit event 1", *row) for row in rows}


def seal_digest(
    number: int,
    sealed_at: str,
    first_kept: int,
    previous: bytes | None,
    event_ids: Sequence[str],
    event_digests: bytes,
) -> bytes:
    """Return the digest of a seal. `sealed_at` is a result of `epoch()`."""
    head = ("trellis audit seal 1", str(number), sealed_at, str(first_kept), previous)
    return _digest(*head, event_digests, *event_ids)


def _digest(*values: str | bytes | None) -> bytes:
    made = hashlib.sha256()
    for value in values:
        if value is None:
            made.update(b"\0")
        else:
            raw = value.encode() if isinstance(value, str) else value
            made.update(b"\1" + len(raw).to_bytes(8, "big") + raw)
    return made.digest()


def epoch(moment: datetime) -> str:
    """Seconds since 1970 with six decimals, as PostgreSQL's `extract` prints them."""
    seconds, microseconds = divmod((moment - _EPOCH) // timedelta(microseconds=1), 1_000_000)
    return f"{seconds}.{microseconds:06d}"


def signing_keys(context: Context) -> dict[str, bytes]:
    """By the id that a seal names: first the key to sign with, then those in use before."""
    keys = context.keys("audit seals")
    return {hmac.new(key, b"key id", hashlib.sha256).hexdigest()[:16]: key for key in keys}


def signature_of(digest: bytes, key: bytes) -> bytes:
    return hmac.digest(key, digest, hashlib.sha256)


def is_signed(digest: bytes, signature: bytes, key: bytes | None) -> bool:
    """Return whether the signature was made with this key; False without a key."""
    return key is not None and hmac.compare_digest(signature_of(digest, key), signature)
