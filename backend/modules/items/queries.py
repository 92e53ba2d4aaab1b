"""Reads of items, as constant statements."""

from uuid import UUID

from sqlalchemy import bindparam, func, or_, select
from sqlmodel import col

from backend.core.lists import list_spec, select_fields
from backend.core.personal_data import counts
from backend.db.lists.specs import Filter, Search, containing
from backend.db.query_runner import Query
from backend.modules.items.models import Item
from backend.modules.items.schemas import MAX_DESCRIPTION, ItemOut

ITEM = Query(select_fields(Item, ItemOut).where(col(Item.id) == bindparam("id")))
ITEMS = list_spec(
    Item,
    ItemOut,
    sorts=(col(Item.created_at), col(Item.updated_at), col(Item.title)),
    filters={
        "owner_id": Filter(
            UUID, lambda owner: col(Item.owner_id) == owner, "Others' need `items:admin`."
        ),
    },
    scopes={"owner": lambda owner: col(Item.owner_id) == owner},
    search=Search(
        lambda part: or_(col(Item.title).ilike(part), col(Item.description).ilike(part)),
        prepare=containing,
        description="Part of the title or description, without regard to case.",
    ),
    large={"description": MAX_DESCRIPTION},
)
NUMBER = Query(
    select(func.count().label("number"))
    .select_from(Item)
    .where(col(Item.owner_id) == bindparam("owner"))
)
STATISTICS = counts(ITEMS, "owner", items=None)
