"""Storing, finding and erasing of responses."""

from dataclasses import asdict
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, bindparam, delete, func, or_, select, text
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.core.stored_responses import KEPT_HOURS, ResponseStore, StoredResponse, key_lock
from backend.db.inserts import Guard
from backend.db.queries import KeyedQuery, Query
from backend.db.transactions import BoundStatement
from backend.modules.repeated_requests.models import StoredResponseRow
from backend.modules.storage_quotas import service as quotas

_COLUMNS = tuple(getattr(StoredResponseRow, name) for name in StoredResponse.__dataclass_fields__)
# now() is the start of a transaction that may have waited.
_IS_VALID = col(StoredResponseRow.expires_at) > func.clock_timestamp()
_ID = col(StoredResponseRow.id)
_CONTAINS = KeyedQuery(select(_ID).where(_IS_VALID), _ID)
_FIND = Query(select(*_COLUMNS).where(bindparam("id") == _ID, _IS_VALID))
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


def _replacing(statement: Insert, *, only_if: ColumnElement[bool] | None = None) -> Insert:
    """Let the INSERT replace a stored response with the same id."""
    names = (name for name in StoredResponseRow.model_fields if name != "id")
    replaced = {name: statement.excluded[name] for name in names}
    return statement.on_conflict_do_update(index_elements=["id"], set_=replaced, where=only_if)


# The row in the way has expired: the request has looked for it after it got the lock.
_KEEP = _replacing(insert(StoredResponseRow).values(expires_at=_EXPIRY))
_HAS_LOCK = func.pg_try_advisory_xact_lock(bindparam("lock", type_=BigInteger))
_GUARD = Guard(
    _replacing(
        insert(StoredResponseRow).from_select(
            [*(column.key for column in _COLUMNS), "expires_at"],
            select(*(bindparam(each.key, type_=each.type) for each in _COLUMNS), _EXPIRY).where(
                _HAS_LOCK
            ),
        ),
        only_if=~_IS_VALID,
    ).returning(_ID)
)


def guard_of(response: StoredResponse) -> BoundStatement | None:
    """Return the statement that stores a response; None for a large one, which has a quota."""
    if response.user_id is not None and len(response.body) > SMALL_BYTES:
        return None
    return _GUARD.bound({**asdict(response), "lock": key_lock(response.id)})


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
    concerned = or_(
        col(StoredResponseRow.user_id) == user_id,
        col(StoredResponseRow.subject_ids).contains([user_id]),
    )
    # In one order: the subjects of a response may be deleted at the same time.
    locked = select(_ID).where(concerned).order_by(_ID).with_for_update()
    await session.exec(delete(StoredResponseRow).where(_ID.in_(locked)))


RESPONSES = ResponseStore(_CONTAINS, _FIND, guard_of, keep_response)
