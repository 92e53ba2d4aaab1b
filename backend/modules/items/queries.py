"""Reads of items, as constant statements."""

from uuid import UUID

from sqlalchemy import bindparam, or_, select
from sqlmodel import col

from backend.core.http.pagination import created_filters
from backend.db.lists.pages import Filter, ListSpec, Search, containing
from backend.db.query_runner import Query
from backend.modules.items.models import Item
from backend.modules.items.schemas import MAX_DESCRIPTION

_ITEM = select(
    col(Item.id),
    col(Item.title),
    col(Item.description),
    col(Item.owner_id),
    col(Item.created_at),
    col(Item.updated_at),
)
ITEM = Query(_ITEM.where(col(Item.id) == bindparam("id")))
ITEMS = ListSpec(
    name="items",
    statement=_ITEM,
    key=col(Item.id),
    sorts={
        "created_at": col(Item.created_at),
        "updated_at": col(Item.updated_at),
        "title": col(Item.title),
    },
    filters={
        "owner_id": Filter(
            UUID, lambda owner: col(Item.owner_id) == owner, "Others' need `items:admin`."
        ),
        **created_filters(col(Item.created_at)),
    },
    indexed=("owner_id",),
    scopes={"only_owner": lambda owner: col(Item.owner_id) == owner},
    search=Search(
        lambda part: or_(col(Item.title).ilike(part), col(Item.description).ilike(part)),
        prepare=containing,
        description="Part of the title or description, without regard to case.",
    ),
    large={"description": MAX_DESCRIPTION},
)
