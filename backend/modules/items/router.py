from typing import Annotated

from fastapi import Depends, Request, Response

from backend.core.context import context_of
from backend.core.dependencies import CurrentContext, ReadSession, Session
from backend.core.errors import documented
from backend.core.identity import require
from backend.core.pagination import Answer, ListParameters, Page, PageRequest, ResourceParameters
from backend.core.principal import Principal
from backend.core.routing import Router
from backend.core.schemas import Id
from backend.modules.items import queries, service
from backend.modules.items.exceptions import ItemNotFoundError
from backend.modules.items.schemas import ItemCreate, ItemOut, ItemUpdate
from backend.modules.storage.exceptions import StorageQuotaExceededError

router = Router(prefix="/items", tags=["items"])
Reader = Annotated[Principal, require("items:read")]
Writer = Annotated[Principal, require("items:write")]
Deleter = Annotated[Principal, require("items:delete")]
ItemAnswer = Annotated[Answer, Depends(ResourceParameters(ItemOut))]
ItemPage = Annotated[PageRequest, Depends(ListParameters(queries.ITEMS, ItemOut))]


@router.get("", response_model=Page[ItemOut])
async def list_items(principal: Reader, reads: ReadSession, page: ItemPage) -> Response:
    """The caller's own items; with `items:admin` everybody's."""
    return page.of(await service.list_items(reads, principal, page.query))


@router.post("", status_code=201, responses=documented(StorageQuotaExceededError))
async def create_item(
    principal: Writer, session: Session, request: Request, response: Response, new: ItemCreate
) -> ItemOut:
    """Make an item of one's own."""
    item = await service.create_item(context_of(request), session, principal, new)
    response.headers["Location"] = f"/api/v1/items/{item.id}"
    return item


@router.get("/{id}", response_model=ItemOut, responses=documented(ItemNotFoundError))
async def read_item(id: Id, principal: Reader, reads: ReadSession, answer: ItemAnswer) -> Response:
    """One item."""
    return answer.of(await service.get_item(reads, principal, id))


@router.patch("/{id}", responses=documented(ItemNotFoundError, StorageQuotaExceededError))
async def update_item(
    id: Id, principal: Writer, context: CurrentContext, session: Session, changes: ItemUpdate
) -> ItemOut:
    """Change what is sent; `null` clears the description."""
    return await service.update_item(context, session, principal, id, changes)


@router.delete("/{id}", status_code=204, responses=documented(ItemNotFoundError))
async def delete_item(
    id: Id, principal: Deleter, context: CurrentContext, session: Session
) -> None:
    """Delete an item."""
    await service.delete_item(context, session, principal, id)
