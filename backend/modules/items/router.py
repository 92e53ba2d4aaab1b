from typing import Annotated

from fastapi import Depends, Request, Response

from backend.core.context import context_of
from backend.core.errors import error_responses
from backend.core.http.dependencies import CurrentContext, Reader, Session
from backend.core.http.pagination import (
    FieldSelection,
    ListParameters,
    Page,
    PageRequest,
    ResourceParameters,
)
from backend.core.http.routing import Router
from backend.core.identity import require
from backend.core.principal import Principal
from backend.core.schemas import Id
from backend.modules.items import queries, service
from backend.modules.items.exceptions import ItemNotFoundError
from backend.modules.items.schemas import ItemCreate, ItemOut, ItemUpdate
from backend.modules.storage.exceptions import StorageQuotaExceededError

router = Router(prefix="/items", tags=["items"])
MayRead = Annotated[Principal, require("items:read")]
MayWrite = Annotated[Principal, require("items:write")]
MayDelete = Annotated[Principal, require("items:delete")]
ItemAnswer = Annotated[FieldSelection, Depends(ResourceParameters(ItemOut))]
ItemPage = Annotated[PageRequest, Depends(ListParameters(queries.ITEMS, ItemOut))]


@router.get("", response_model=Page[ItemOut])
async def list_items(principal: MayRead, reader: Reader, page: ItemPage) -> Response:
    """The caller's own items; with `items:admin` everybody's."""
    return page.render(await service.list_items(reader, principal, page.query))


@router.post("", status_code=201, responses=error_responses(StorageQuotaExceededError))
async def create_item(
    principal: MayWrite, session: Session, request: Request, response: Response, new: ItemCreate
) -> ItemOut:
    """Make an item of one's own."""
    item = await service.create_item(context_of(request), session, principal, new)
    response.headers["Location"] = f"/api/v1/items/{item.id}"
    return item


@router.get("/{id}", response_model=ItemOut, responses=error_responses(ItemNotFoundError))
async def read_item(id: Id, principal: MayRead, reader: Reader, answer: ItemAnswer) -> Response:
    """One item."""
    return answer.render(await service.get_item(reader, principal, id))


@router.patch("/{id}", responses=error_responses(ItemNotFoundError, StorageQuotaExceededError))
async def update_item(
    id: Id, principal: MayWrite, context: CurrentContext, session: Session, changes: ItemUpdate
) -> ItemOut:
    """Change what is sent; `null` clears the description."""
    return await service.update_item(context, session, principal, id, changes)


@router.delete("/{id}", status_code=204, responses=error_responses(ItemNotFoundError))
async def delete_item(
    id: Id, principal: MayDelete, context: CurrentContext, session: Session
) -> None:
    """Delete an item."""
    await service.delete_item(context, session, principal, id)
