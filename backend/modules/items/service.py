"""Use cases of items. Only the owner and holders of `items:admin` see an item."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import insert
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.lists import ListQuery, Page
from backend.core.ownership import (
    OwnedRows,
    apply_changes,
    lock_visible,
    new_row,
    read_visible,
    read_visible_page,
)
from backend.core.principal import SYSTEM, Caller, Principal
from backend.core.schemas import Bulk
from backend.db.inserts import insert_row
from backend.db.query_runner import QueryRunner, Row
from backend.db.session_reader import RowReader, SessionReader
from backend.modules.audit import service as audit
from backend.modules.items import queries
from backend.modules.items.exceptions import ItemNotFoundError
from backend.modules.items.models import Item
from backend.modules.items.schemas import ItemCreate, ItemOut, ItemUpdate
from backend.modules.storage_quotas import service as quotas

ITEMS = OwnedRows(Item, queries.ITEMS, ItemNotFoundError, admin="items:admin")
_INSERT = insert(Item.__table__)  # type: ignore[attr-defined]  # set by SQLModel's metaclass


async def list_items(reader: QueryRunner, by: Caller, query: ListQuery) -> Page[ItemOut]:
    """Return a page of the caller's own items, or of all items with `items:admin`."""
    by.must("items:read")
    return await read_visible_page(reader, ITEMS, by, query)


async def items_of(
    reader: QueryRunner, by: Caller, user_id: UUID, query: ListQuery
) -> Page[ItemOut]:
    """Return a page of a user's items. Another user's than the caller's need `items:admin`."""
    return await list_items(reader, by, replace(query, filters={"owner_id": user_id}))


async def get_item(reader: RowReader, by: Caller, item_id: UUID) -> ItemOut:
    by.must("items:read")
    return await read_visible(reader, ITEMS, by, item_id)


async def create_item(
    context: Context, session: AsyncSession, by: Principal, new: ItemCreate
) -> ItemOut:
    """Create an item that the caller owns."""
    by.must("items:write")
    item = new_row(by, new)
    await quotas.update_usage(context, session, SYSTEM, by.user_id, new=_texts(item))
    return ItemOut.from_row(await insert_row(session, Item, item))


async def create_items(
    context: Context, session: AsyncSession, by: Principal, new: Sequence[ItemCreate]
) -> Bulk[ItemOut]:
    """Create items that the caller owns, in one round trip.

    Small items do not count towards the quota, so in bulk their number has a limit.
    """
    by.must("items:write")
    row = await SessionReader(session).first(queries.STATISTICS.query, owner=by.user_id)
    assert row is not None
    quotas.ensure_within_quota(context, SYSTEM, (row["items"] + len(new)) * quotas.ROW_BYTES)
    items = [new_row(by, each) for each in new]
    await quotas.add_rows(context, session, SYSTEM, by.user_id, map(_texts, items))
    # The driver sends all rows before it reads the first result.
    await session.exec(_INSERT, params=items)
    return Bulk(data=[ItemOut.from_row(item) for item in items])


async def update_item(
    context: Context, session: AsyncSession, by: Caller, item_id: UUID, changes: ItemUpdate
) -> ItemOut:
    by.must("items:write")
    item = await lock_visible(session, ITEMS, by, item_id)
    old = _texts(item.model_dump())
    before, after = apply_changes(item, changes)
    new = _texts(item.model_dump())
    await quotas.update_usage(context, session, SYSTEM, item.owner_id, old=old, new=new)
    await session.flush()
    target = ("item", item_id)
    await audit.record_update(
        session, by, target, item.owner_id, before, after, hidden=queries.ITEMS.large
    )
    return ItemOut.from_row(item.model_dump())


async def delete_item(context: Context, session: AsyncSession, by: Caller, item_id: UUID) -> None:
    by.must("items:delete")
    item = await lock_visible(session, ITEMS, by, item_id)
    old = _texts(item.model_dump())
    await quotas.update_usage(context, session, SYSTEM, item.owner_id, old=old)
    await session.delete(item)
    await session.flush()
    await audit.record_delete(session, by, ("item", item_id), {"owner_id": item.owner_id})


def _texts(item: Row) -> quotas.Texts:
    return item["title"], item["description"]
