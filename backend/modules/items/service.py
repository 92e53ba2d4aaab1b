"""Items: the use cases. An item is seen by its owner and by holders of `items:admin`."""

from uuid import UUID

from sqlalchemy import insert
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.errors import PermissionDeniedError
from backend.core.http.pagination import Page
from backend.core.principal import Principal
from backend.db.base import utc_now, uuid7
from backend.db.lists.pages import ListQuery, fetch_page
from backend.db.query_runner import QueryRunner
from backend.modules.audit import service as audit
from backend.modules.items import queries
from backend.modules.items.exceptions import ItemNotFoundError
from backend.modules.items.models import Item
from backend.modules.items.schemas import ItemCreate, ItemOut, ItemUpdate
from backend.modules.storage import service as storage

ADMIN = "items:admin"
LONG = ("description",)
_INSERT = insert(Item.__table__)  # type: ignore[attr-defined]  # set by SQLModel's metaclass


async def list_items(reader: QueryRunner, principal: Principal, query: ListQuery) -> Page[ItemOut]:
    """The caller's own items; all of them with `items:admin`."""
    scopes = {}
    if not principal.may(ADMIN):
        if query.filters.get("owner_id", principal.user_id) != principal.user_id:
            raise PermissionDeniedError
        scopes["only_owner"] = principal.user_id
    page = await fetch_page(reader, queries.ITEMS, query, **scopes)
    return Page.from_rows(page, ItemOut.from_row)


async def get_item(reader: QueryRunner, principal: Principal, item_id: UUID) -> ItemOut:
    row = await reader.first(queries.ITEM, id=item_id)
    if row is None or not _sees(principal, row["owner_id"]):
        raise ItemNotFoundError
    return ItemOut.from_row(row)


async def create_item(
    context: Context, session: AsyncSession, principal: Principal, new: ItemCreate
) -> ItemOut:
    await storage.keep(context, session, principal.user_id, new=(new.title, new.description))
    now = utc_now()
    item = ItemOut(
        id=uuid7(),
        title=new.title,
        description=new.description,
        owner_id=principal.user_id,
        created_at=now,
        updated_at=now,
    )
    # The unit of work of a mapped object would cost as much as all the rest of the request.
    await session.exec(_INSERT, params=item.model_dump())
    return item


async def update_item(
    context: Context,
    session: AsyncSession,
    principal: Principal,
    item_id: UUID,
    changes: ItemUpdate,
) -> ItemOut:
    item = await _locked(session, principal, item_id)
    sent = changes.model_dump()
    told = audit.changes_of({name: getattr(item, name) for name in sent}, sent, hidden=LONG)
    old = _texts(item)
    for name, value in sent.items():
        setattr(item, name, value)
    await storage.keep(context, session, item.owner_id, old=old, new=_texts(item))
    await session.flush()
    if told and item.owner_id != principal.user_id:
        await audit.record(
            session,
            "item.update",
            target=("item", item_id),
            actor_id=principal.user_id,
            changes=told,
        )
    return _to_schema(item)


async def delete_item(
    context: Context, session: AsyncSession, principal: Principal, item_id: UUID
) -> None:
    item = await _locked(session, principal, item_id)
    await storage.keep(context, session, item.owner_id, old=_texts(item))
    await session.delete(item)
    await session.flush()
    await audit.record(
        session,
        "item.delete",
        target=("item", item_id),
        actor_id=principal.user_id,
        changes=audit.changes_of({"owner_id": item.owner_id}, {}),
    )


async def _locked(session: AsyncSession, principal: Principal, item_id: UUID) -> Item:
    item = await session.get(Item, item_id, with_for_update=True)
    if item is None or not _sees(principal, item.owner_id):
        raise ItemNotFoundError
    return item


def _sees(principal: Principal, owner_id: UUID) -> bool:
    return owner_id == principal.user_id or principal.may(ADMIN)


def _texts(item: Item) -> storage.Texts:
    return item.title, item.description


def _to_schema(item: Item) -> ItemOut:
    return ItemOut.from_row(item.model_dump())
