"""A chain of seals over the events, which cannot be rewritten with access to the database alone.

Writers insert the ids of their events into `audit_waiting`, and one sealer at a time takes the
committed ones.
"""

from collections.abc import Mapping
from uuid import UUID

import structlog
from sqlalchemy import delete, func, insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.modules.audit.digests import (
    NOTHING,
    digests_of,
    epoch,
    is_signed,
    seal_digest,
    signature_of,
    signing_keys,
)
from backend.modules.audit.models import AuditSeal, AuditWaiting

SEAL_SIZE = 500
# An arbitrary number that no other advisory lock of this application uses.
CHAIN_LOCK = 7_265_330
log = structlog.get_logger()

_TAKE = (
    delete(AuditWaiting)
    .where(
        col(AuditWaiting.event_id).in_(
            select(col(AuditWaiting.event_id)).order_by(col(AuditWaiting.event_id)).limit(SEAL_SIZE)
        )
    )
    .returning(col(AuditWaiting.event_id))
)
_LAST = select(AuditSeal).order_by(col(AuditSeal.number).desc()).limit(1)


async def seal_waiting(context: Context) -> None:
    """Seal all committed events; do nothing while another process seals."""
    keys = signing_keys(context)
    sealed = SEAL_SIZE
    while sealed == SEAL_SIZE:
        async with context.database.transaction() as session:
            lock = select(func.pg_try_advisory_xact_lock(CHAIN_LOCK))
            if not (await session.exec(lock)).one():
                return
            sealed = await append_seal(session, keys)


async def append_seal(
    session: AsyncSession, keys: Mapping[str, bytes], *, first_kept: int | None = None
) -> int:
    """Add a seal with up to `SEAL_SIZE` waiting events and return their number.

    The caller holds `CHAIN_LOCK`. With `first_kept`, the number of the first seal that is not
    deleted, a seal is added even if no event waits.
    """
    taken: list[UUID] = sorted((await session.exec(_TAKE)).scalars())
    if not taken and first_kept is None:
        return 0
    last = (await session.exec(_LAST)).first()
    now = (await session.exec(select(func.clock_timestamp()))).one()
    ids = [str(id) for id in taken]
    found = await digests_of(session, taken)
    event_digests = b"".join(found.get(id, NOTHING) for id in ids)
    number = last.number + 1 if last else 1
    kept = first_kept or (last.first_kept if last else 1)
    previous = _trusted(last, keys)
    digest = seal_digest(number, epoch(now), kept, previous, ids, event_digests)
    key_id, key = next(iter(keys.items()))
    values = {
        "number": number,
        "sealed_at": now,
        "first_kept": kept,
        "event_ids": taken,
        "event_digests": event_digests,
        "previous_digest": previous,
        "digest": digest,
        "signature": signature_of(digest, key),
        "key_id": key_id,
    }
    await session.exec(insert(AuditSeal), params=values)
    # A copy of this line kept elsewhere shows whether the end of the chain was removed.
    log.info("audit_sealed", seal=number, events=len(ids), digest=digest.hex())
    return len(ids)


def _trusted(last: AuditSeal | None, keys: Mapping[str, bytes]) -> bytes | None:
    """Return the digest that the next seal continues, or None if the last seal has no valid
    signature: a signed seal confirms all seals before it."""
    if last is None:
        return None
    if is_signed(last.digest, last.signature, keys.get(last.key_id)):
        return last.digest
    log.error("audit_chain_broken", seal=last.number)
    return None
