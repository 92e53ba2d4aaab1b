"""Storing, finding and erasing of responses."""

from dataclasses import asdict
from uuid import UUID

from sqlalchemy import bindparam, delete, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.core.stored_responses import KEPT_HOURS, ResponseStore, StoredResponse
from backend.db.queries import Query
from backend.modules.repeated_requests.models import StoredResponseRow
from backend.modules.storage_quotas import service as quotas

_COLUMNS = tuple(getattr(StoredResponseRow, name) for name in StoredResponse.__dataclass_fields__)
_FIND = Query(
    select(*_COLUMNS).where(
        col(StoredResponseRow.id) == bindparam("id"),
        # now() is the start of a transaction that may have waited.
        col(StoredResponseRow.expires_at) > func.clock_timestamp(),
    )
)
# Smaller responses do not count: the rate limit of requests limits them.
SMALL_BYTES = 4096
QUOTA_DETAIL = (
    "The responses that are stored for the repetition of this user's requests would exceed the "
    "storage quota of an account: send smaller requests with an Idempotency-Key, or wait up to "
    f"{KEPT_HOURS} hours."
)
_SIZE = func.octet_length(col(StoredResponseRow.body))
_LARGE = select(func.sum(_SIZE)).where(
    col(StoredResponseRow.user_id) == bindparam("user_id"), _SIZE > SMALL_BYTES
)
_EXPIRY = func.clock_timestamp() + text(f"interval '{KEPT_HOURS} hours'")
_INSERT = insert(StoredResponseRow).values(expires_at=_EXPIRY)
# The row in the way has expired: the request has looked for it after it got the lock.
_KEEP = _INSERT.on_conflict_do_update(
    index_elements=["id"],
    set_={name: _INSERT.excluded[name] for name in StoredResponseRow.model_fields if name != "id"},
)


async def keep_response(context: Context, session: AsyncSession, response: StoredResponse) -> None:
    """Store a response in this transaction, in place of an expired one.

    Raise `StorageQuotaExceededError` if the large responses of the user exceed the quota.
    """
    await session.exec(_KEEP, params=asdict(response))
    if response.user_id is not None and len(response.body) > SMALL_BYTES:
        size = await session.scalar(_LARGE, params={"user_id": response.user_id})
        quotas.ensure_within_quota(context, SYSTEM, size or 0, QUOTA_DETAIL)


async def erase(_context: Context, session: AsyncSession, user_id: UUID) -> None:
    """Delete the responses to the user's requests, and those with data of the user."""
    row_id = col(StoredResponseRow.id)
    concerned = or_(
        col(StoredResponseRow.user_id) == user_id,
        col(StoredResponseRow.subject_ids).contains([user_id]),
    )
    # In one order: the subjects of a response may be deleted at the same time.
    locked = select(row_id).where(concerned).order_by(row_id).with_for_update()
    await session.exec(delete(StoredResponseRow).where(row_id.in_(locked)))


RESPONSES = ResponseStore(_FIND, keep_response)
