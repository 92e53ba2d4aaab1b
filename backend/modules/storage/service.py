"""The quota of what each user stores.

A service calls `keep` before each change of a row of its own that may be large, in the transaction
of that change.
"""

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Uuid, bindparam, text
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.principal import System
from backend.modules.storage.exceptions import StorageQuotaExceededError
from backend.modules.storage.models import StoredBytes
from backend.modules.storage.settings import StorageSettings

Texts = Sequence[str | None]
# The row around such texts takes as much. Writing them takes no further statement.
UNCOUNTED_BYTES = 256

# A connection has one transaction at a time, so those of one server hardly ever share a slot.
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
    """Count the texts of one row of this user, `new` in the place of `old`.

    Only for the service that owns the row, which passes `SYSTEM`.

    `StorageQuotaExceededError` if there are more and the user then stores more than the quota;
    parallel writes may exceed it by one row each. Small texts take no statement.
    """
    by.must_be_system()
    change = _counted(new) - _counted(old)
    if not change:
        return
    quota = context.settings_of(StorageSettings).storage_quota_per_user
    values = {"user_id": user_id, "change": change, "quota": quota}
    counted = await (await session.connection()).execute(_COUNT, values)
    if counted.first() is None:
        raise StorageQuotaExceededError


def _counted(texts: Texts) -> int:
    size = sum(len(each.encode()) for each in texts if each)
    return size if size > UNCOUNTED_BYTES else 0
