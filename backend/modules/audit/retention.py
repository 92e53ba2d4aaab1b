"""Deletion of events older than `AUDIT_RETENTION_DAYS` from the beginning of the chain."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Uuid, any_, delete, func, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.modules.audit.digests import signing_keys
from backend.modules.audit.models import AuditEvent, AuditSeal
from backend.modules.audit.sealing import CHAIN_LOCK, append_seal
from backend.modules.audit.settings import AuditSettings

SEALS_AT_ONCE = 100
log = structlog.get_logger()


async def delete_expired(context: Context) -> None:
    """Delete expired events with their seals, oldest first and whole seals only.

    The newest seal is kept, so that the chain continues. A new seal states the first seal that is
    kept: without the key, nobody can delete more and make it look like retention.
    """
    age = timedelta(days=context.settings_of(AuditSettings).audit_retention_days)
    keys = signing_keys(context)
    removed = SEALS_AT_ONCE
    while removed == SEALS_AT_ONCE:
        async with context.database.transaction() as session:
            await session.exec(select(func.pg_advisory_xact_lock(CHAIN_LOCK)))
            expired = await _expired(session, age)
            removed = len(expired)
            if not expired:
                return
            last, ids = max(expired), [id for each in expired.values() for id in each]
            await append_seal(session, keys, first_kept=last + 1)
            await session.exec(delete(AuditEvent).where(_one_of(ids)))
            await session.exec(delete(AuditSeal).where(col(AuditSeal.number) <= last))
        log.info("audit_removed", last_seal=last, events=len(ids))


async def _expired(session: AsyncSession, age: timedelta) -> dict[int, Sequence[UUID]]:
    """Return the expired seals at the beginning of the chain, each with the ids of its events."""
    newest = select(func.max(col(AuditSeal.number))).scalar_subquery()
    old = (
        select(AuditSeal.number, AuditSeal.event_ids)
        .where(col(AuditSeal.number) < newest, col(AuditSeal.sealed_at) < func.now() - age)
        .order_by(col(AuditSeal.number))
        .limit(SEALS_AT_ONCE)
    )
    candidates: dict[int, Sequence[UUID]] = dict((await session.exec(old)).all())
    ids = [id for each in candidates.values() for id in each]
    # The condition of the table's trigger: events dated more than a day ahead may be deleted.
    younger = select(AuditEvent.id).where(
        _one_of(ids),
        col(AuditEvent.occurred_at).between(func.now() - age, func.now() + timedelta(days=1)),
    )
    kept = set((await session.exec(younger)).all())
    expired: dict[int, Sequence[UUID]] = {}
    for number, event_ids in candidates.items():
        if not kept.isdisjoint(event_ids):
            break
        expired[number] = event_ids
    return expired


def _one_of(ids: list[UUID]) -> ColumnElement[bool]:
    # One parameter for any number of ids.
    return col(AuditEvent.id) == any_(literal(ids, ARRAY(Uuid)))
