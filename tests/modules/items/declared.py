"""Declarations of this module for the tests of all modules; see tests/declared.py."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from backend.core.context import Context
from backend.db.lists.specs import ListQuery
from backend.modules.items.exceptions import ItemNotFoundError
from backend.modules.items.models import Item
from backend.modules.items.schemas import ItemUpdate
from tests.actors import Actor
from tests.declared import (
    MEMBER,
    Arguments,
    Case,
    Change,
    Make,
    Place,
    Resource,
    Rule,
    created,
    stored,
    with_user,
    with_values,
)


def with_item(**more: Any) -> Arguments:
    """Return arguments of a call about an item of the owner."""

    async def arguments(place: Place) -> Mapping[str, Any]:
        made = await place.owner.post("/api/v1/items", json={"title": "Milk"})
        return {"item_id": UUID(made.json()["id"]), **more}

    return arguments


async def item_of(context: Context, owner: Actor) -> UUID:
    item = Item(title="Tea", owner_id=owner.id)
    return await stored(context, item, item.id)


ITEM = created("/items", {"title": "Tea"})
_OWN = {"items:read", "items:write", "items:delete"}
GRANTED = {"viewer": {"items:read"}, "member": _OWN, "editor": _OWN}
THINGS: dict[str, Make] = {r"/api/v1/items.*": item_of}
RULES = (
    Rule("GET /api/v1/items", "items:read", others="items:admin"),
    Rule("POST /api/v1/items", "items:write"),
    Rule("POST /api/v1/items/bulk", "items:write"),
    Rule("GET /api/v1/items/{id}", "items:read", others="items:admin"),
    Rule("PATCH /api/v1/items/{id}", "items:write", others="items:admin"),
    Rule("DELETE /api/v1/items/{id}", "items:delete", others="items:admin"),
)
CASES: dict[str, Case] = {
    "delete_item": Case(with_item(), MEMBER, ItemNotFoundError),
    "get_item": Case(with_item(), MEMBER, ItemNotFoundError),
    "items_of": Case(with_user(query=ListQuery(cursor_key=b"")), MEMBER),
    "list_items": Case(with_values(query=ListQuery(b"", filters={"owner_id": None})), MEMBER),
    "update_item": Case(with_item(changes=ItemUpdate(title="Tea")), MEMBER, ItemNotFoundError),
}
RESOURCES: dict[str, Resource] = {
    "/items/{id}": ITEM,
}
CHANGES: dict[str, Change] = {
    "PATCH /items/{id}": (ITEM, {"title": "Coffee"}),
    "DELETE /items/{id}": (ITEM, None),
}
REPEATABLE: dict[str, Mapping[str, Any]] = {
    "/items": {"title": "Tea"},
    "/items/bulk": {"data": [{"title": "Tea"}, {"title": "Coffee"}]},
}
