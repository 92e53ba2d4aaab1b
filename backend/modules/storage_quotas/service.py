"""The storage quota of each user.

A service calls `update_usage` before each change of a row that can be large, in the transaction of
the change.
"""

from collections.abc import Iterable, Sequence
from typing import cast
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Uuid, bindparam, text
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.principal import System
from backend.modules.storage_quotas.exceptions import StorageQuotaExceededError
from backend.modules.storage_quotas.models import StoredBytes
from backend.modules.storage_quotas.settings import QuotaSettings

Texts = Sequence[str | None]
# Smaller texts are not counted, which saves a statement; the rest of a row takes as much.
UNCOUNTED_BYTES = 256
# The space of a row with small texts and of its indexes.
ROW_BYTES = 1024

# Concurrent transactions have different server processes, so they rarely share a slot.
_COUNT = (
    text(
        """
        INSERT INTO stored_bytes AS stored (user_id, slot, bytes)
        SELECT :user_id, pg_backend_pid() % 16, :change WHERE :change < 0 OR :change + (
            SELECT coalesce(sum(bytes), 0) FROM stored_bytes WHERE user_id = :user_id
        ) <= :quota
        ON CONFLICT (user_id, slot) DO UPDATE SET bytes = stored.bytes + excluded.bytes
        RETURNING slot
        """
    )
    .bindparams(
        bindparam("user_id", type_=Uuid),
        bindparam("change", type_=BigInteger),
        bindparam("quota", type_=BigInteger),
    )
    .columns(cast("ColumnElement[int]", col(StoredBytes.slot)))
)


async def update_usage(
    context: Context,
    session: AsyncSession,
    by: System,
    user_id: UUID,
    *,
    old: Texts = (),
    new: Texts = (),
) -> None:
    """Count the texts `new` of a row of this user in place of `old`.

    Only the service that owns the row may call this; it passes `SYSTEM`. Raise
    `StorageQuotaExceededError` if the texts grow and the user then exceeds the quota; concurrent
    writes can exceed it by one row each. Small texts take no statement.
    """
    change = _counted(new) - _counted(old)
    await update_bytes(context, session, by, user_id, change)


async def add_rows(
    context: Context, session: AsyncSession, by: System, user_id: UUID, rows: Iterable[Texts]
) -> None:
    """Count the texts of several new rows of this user, like `update_usage`."""
    await update_bytes(context, session, by, user_id, sum(map(_counted, rows)))


async def update_bytes(
    context: Context, session: AsyncSession, by: System, user_id: UUID, change: int
) -> None:
    """Add `change` to the bytes of this user, like `update_usage`."""
    by.must_be_system()
    if not change:
        return
    quota = context.settings_of(QuotaSettings).storage_quota_per_user
    values = {"user_id": user_id, "change": change, "quota": quota}
    counted = await (await session.connection()).execute(_COUNT, values)
    if counted.first() is None:
        raise StorageQuotaExceededError


def ensure_within_quota(context: Context, by: System, size: int, detail: str | None = None) -> None:
    """Raise `StorageQuotaExceededError` if `size` bytes exceed the quota of a user.

    For bytes that are not counted here, because the caller can sum them up.
    """
    by.must_be_system()
    if size > context.settings_of(QuotaSettings).storage_quota_per_user:
        raise StorageQuotaExceededError(detail)


def _counted(texts: Texts) -> int:
    size = sum(len(item.encode()) for item in texts if item)
    return size if size > UNCOUNTED_BYTES else 0
