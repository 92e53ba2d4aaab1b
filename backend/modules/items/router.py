from typing import Annotated

from fastapi import Request

from backend.core.authorization import require
from backend.core.context import context_of
from backend.core.errors import error_responses
from backend.core.http.bodies import MAX_BULK_BYTES
from backend.core.http.dependencies import CurrentContext, Reader, Session
from backend.core.http.pagination import list_parameters
from backend.core.http.routing import Router
from backend.core.lists import ListQuery, Page
from backend.core.principal import Principal
from backend.core.schemas import Bulk, Id
from backend.modules.items import queries, service
from backend.modules.items.exceptions import ItemNotFoundError
from backend.modules.items.schemas import ItemCreate, ItemOut, ItemUpdate
from backend.modules.storage_quotas.exceptions import StorageQuotaExceededError

router = Router(prefix="/items", tags=["items"])
MayRead = Annotated[Principal, require("items:read")]
MayWrite = Annotated[Principal, require("items:write")]
MayDelete = Annotated[Principal, require("items:delete")]
ItemQuery = Annotated[ListQuery, list_parameters(queries.ITEMS)]


@router.get("")
async def list_items(by: MayRead, reader: Reader, query: ItemQuery) -> Page[ItemOut]:
    """The caller's own items; with `items:admin` everybody's."""
    return await service.list_items(reader, by, query)


@router.get("/{id}", responses=error_responses(ItemNotFoundError))
async def read_item(id: Id, by: MayRead, reader: Reader) -> ItemOut:
    """One item."""
    return await service.get_item(reader, by, id)


@router.post(
    "",
    status_code=201,
    location=read_item,
    responses=error_responses(StorageQuotaExceededError),
)
async def create_item(by: MayWrite, request: Request, session: Session, new: ItemCreate) -> ItemOut:
    """Make an item of one's own."""
    return await service.create_item(context_of(request), session, by, new)


@router.post(
    "/bulk",
    status_code=201,
    max_body_size=MAX_BULK_BYTES,
    responses=error_responses(StorageQuotaExceededError),
)
async def create_items(
    by: MayWrite, context: CurrentContext, session: Session, new: Bulk[ItemCreate]
) -> Bulk[ItemOut]:
    """Make up to 1000 items of one's own: all of them, or none."""
    return await service.create_items(context, session, by, new.data)


@router.patch("/{id}", responses=error_responses(ItemNotFoundError, StorageQuotaExceededError))
async def update_item(
    id: Id, by: MayWrite, context: CurrentContext, session: Session, changes: ItemUpdate
) -> ItemOut:
    """Change what is sent; `null` clears the description."""
    return await service.update_item(context, session, by, id, changes)


@router.delete("/{id}", status_code=204, responses=error_responses(ItemNotFoundError))
async def delete_item(id: Id, by: MayDelete, context: CurrentContext, session: Session) -> None:
    """Delete an item."""
    await service.delete_item(context, session, by, id)
