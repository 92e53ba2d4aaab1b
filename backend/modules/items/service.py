"""Use cases of items. Only the owner and holders of `items:admin` see an item."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.errors import PermissionDeniedError
from backend.core.lists import ListQuery, Page, read_page
from backend.core.preconditions import check_preconditions
from backend.core.principal import SYSTEM, Caller, Principal
from backend.core.schemas import Bulk
from backend.db.base import utc_now, uuid7
from backend.db.query_runner import QueryRunner, SessionReader
from backend.modules.audit import service as audit
from backend.modules.items import queries
from backend.modules.items.exceptions import ItemNotFoundError
from backend.modules.items.models import Item
from backend.modules.items.schemas import ItemCreate, ItemOut, ItemUpdate
from backend.modules.storage_quotas import service as quotas

ADMIN = "items:admin"
LONG = ("description",)
_INSERT = insert(Item.__table__)  # type: ignore[attr-defined]  # set by SQLModel's metaclass


async def list_items(reader: QueryRunner, by: Caller, query: ListQuery) -> Page[ItemOut]:
    """Return a page of the caller's own items, or of all items with `items:admin`."""
    by.must("items:read")
    if by.may(ADMIN):
        return await read_page(reader, queries.ITEMS, query)
    if query.filters.get("owner_id", by.user_id) != by.user_id:
        raise PermissionDeniedError
    return await read_page(reader, queries.ITEMS, query, owner=by.user_id)


async def items_of(
    reader: QueryRunner, by: Caller, user_id: UUID, query: ListQuery
) -> Page[ItemOut]:
    """Return a page of a user's items. Another user's than the caller's need `items:admin`."""
    return await list_items(reader, by, replace(query, filters={"owner_id": user_id}))


async def get_item(reader: QueryRunner, by: Caller, item_id: UUID) -> ItemOut:
    by.must("items:read")
    row = await reader.first(queries.ITEM, id=item_id)
    if row is None or not _sees(by, row["owner_id"]):
        raise ItemNotFoundError
    return ItemOut.from_row(row)


async def create_item(
    context: Context, session: AsyncSession, by: Principal, new: ItemCreate
) -> ItemOut:
    """Create an item that the caller owns."""
    by.must("items:write")
    item = _new_item(by, new, utc_now())
    await quotas.update_usage(context, session, SYSTEM, by.user_id, new=_texts(item))
    # A mapped object and its unit of work would cost as much as the rest of the request.
    await session.exec(_INSERT, params=item.model_dump())
    return item


async def create_items(
    context: Context, session: AsyncSession, by: Principal, new: Sequence[ItemCreate]
) -> Bulk[ItemOut]:
    """Create items that the caller owns, in one round trip.

    Small items do not count towards the quota, so in bulk their number has a limit.
    """
    by.must("items:write")
    row = await SessionReader(session).first(queries.NUMBER, owner=by.user_id)
    assert row is not None
    quotas.ensure_within_quota(context, SYSTEM, (row["number"] + len(new)) * quotas.ROW_BYTES)
    now = utc_now()
    items = [_new_item(by, each, now) for each in new]
    await quotas.add_rows(context, session, SYSTEM, by.user_id, map(_texts, items))
    # The driver sends all rows before it reads the first result.
    await session.exec(_INSERT, params=[item.model_dump() for item in items])
    return Bulk(data=items)


def _new_item(by: Principal, new: ItemCreate, now: datetime) -> ItemOut:
    return ItemOut(
        id=uuid7(),
        title=new.title,
        description=new.description,
        owner_id=by.user_id,
        created_at=now,
        updated_at=now,
    )


async def update_item(
    context: Context, session: AsyncSession, by: Caller, item_id: UUID, changes: ItemUpdate
) -> ItemOut:
    by.must("items:write")
    item = await _locked(session, by, item_id)
    sent = changes.model_dump()
    changed = audit.changes_of({name: getattr(item, name) for name in sent}, sent, hidden=LONG)
    old = _texts(item)
    for name, value in sent.items():
        setattr(item, name, value)
    await quotas.update_usage(context, session, SYSTEM, item.owner_id, old=old, new=_texts(item))
    await session.flush()
    if changed and item.owner_id != by.user_id:
        await audit.record(
            session,
            "item.update",
            target=("item", item_id),
            actor_id=by.user_id,
            changes=changed,
        )
    return _to_schema(item)


async def delete_item(context: Context, session: AsyncSession, by: Caller, item_id: UUID) -> None:
    by.must("items:delete")
    item = await _locked(session, by, item_id)
    await quotas.update_usage(context, session, SYSTEM, item.owner_id, old=_texts(item))
    await session.delete(item)
    await session.flush()
    await audit.record(
        session,
        "item.delete",
        target=("item", item_id),
        actor_id=by.user_id,
        changes=audit.changes_of({"owner_id": item.owner_id}, {}),
    )


async def _locked(session: AsyncSession, by: Caller, item_id: UUID) -> Item:
    item = await session.get(Item, item_id, with_for_update=True)
    if item is None or not _sees(by, item.owner_id):
        raise ItemNotFoundError
    await check_preconditions(lambda: _to_schema(item))
    return item


def _sees(by: Caller, owner_id: UUID) -> bool:
    return owner_id == by.user_id or by.may(ADMIN)


def _to_schema(item: Item) -> ItemOut:
    return ItemOut.from_row(item.model_dump())


def _texts(item: Item | ItemOut) -> quotas.Texts:
    return item.title, item.description
