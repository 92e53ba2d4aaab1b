"""Takes what is older than `AUDIT_RETENTION_DAYS` off the beginning of the chain."""

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
    """Delete old events with their seals, oldest first and whole seals only.

    The last seal stays, so that the chain continues. A new seal states where the chain begins, so
    that a removal of more seals cannot pass for retention without the key.
    """
    age = timedelta(days=context.settings_of(AuditSettings).audit_retention_days)
    keys = signing_keys(context)
    removed = SEALS_AT_ONCE
    while removed == SEALS_AT_ONCE:
        async with context.database.transaction() as session:
            await session.exec(select(func.pg_advisory_xact_lock(CHAIN_LOCK)))
            outlived = await _outlived(session, age)
            removed = len(outlived)
            if not outlived:
                return
            last, ids = max(outlived), [id for each in outlived.values() for id in each]
            await append_seal(session, keys, first_kept=last + 1)
            await session.exec(delete(AuditEvent).where(_one_of(ids)))
            await session.exec(delete(AuditSeal).where(col(AuditSeal.number) <= last))
        log.info("audit_removed", last_seal=last, events=len(ids))


async def _outlived(session: AsyncSession, age: timedelta) -> dict[int, Sequence[UUID]]:
    """Seals at the beginning of the chain that hold nothing younger, and their events."""
    newest = select(func.max(col(AuditSeal.number))).scalar_subquery()
    old = (
        select(AuditSeal.number, AuditSeal.event_ids)
        .where(col(AuditSeal.number) < newest, col(AuditSeal.sealed_at) < func.now() - age)
        .order_by(col(AuditSeal.number))
        .limit(SEALS_AT_ONCE)
    )
    found: dict[int, Sequence[UUID]] = dict((await session.exec(old)).all())
    ids = [id for each in found.values() for id in each]
    # As the table's trigger sees it: what claims to be from the future is not younger.
    younger = select(AuditEvent.id).where(
        _one_of(ids),
        col(AuditEvent.occurred_at).between(func.now() - age, func.now() + timedelta(days=1)),
    )
    kept = set((await session.exec(younger)).all())
    outlived: dict[int, Sequence[UUID]] = {}
    for number, event_ids in found.items():
        if not kept.isdisjoint(event_ids):
            break
        outlived[number] = event_ids
    return outlived


def _one_of(ids: list[UUID]) -> ColumnElement[bool]:
    # One parameter, however many they are.
    return col(AuditEvent.id) == any_(literal(ids, ARRAY(Uuid)))
