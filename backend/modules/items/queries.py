"""Reads of items, as constant statements."""

from uuid import UUID

from sqlmodel import col

from backend.core.lists import list_spec
from backend.core.personal_data import counts
from backend.db.lists.specs import Filter, equals, search_parts
from backend.modules.items.models import Item
from backend.modules.items.schemas import MAX_DESCRIPTION, ItemOut

ITEMS = list_spec(
    Item,
    ItemOut,
    sorts=(col(Item.created_at), col(Item.updated_at), col(Item.title)),
    filters={"owner_id": Filter(UUID, equals(col(Item.owner_id)), "Others' need `items:admin`.")},
    scopes={"owner": equals(col(Item.owner_id))},
    search=search_parts(col(Item.title), col(Item.description)),
    large={"description": MAX_DESCRIPTION},
)
STATISTICS = counts(ITEMS, "owner", items=None)
