"""Example items for development."""

from collections.abc import Sequence
from random import Random

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.principal import Principal
from backend.modules.items import service
from backend.modules.items.schemas import ItemCreate

THINGS = [
    "Backpack",
    "Bicycle",
    "Camera",
    "Desk",
    "Drill",
    "Guitar",
    "Kettle",
    "Ladder",
    "Lamp",
    "Laptop",
    "Tent",
    "Umbrella",
]
STATES = ("as good as new", "with a few scratches", "to be repaired", "lent to a friend")
ITEMS = 200


async def seed(
    context: Context, session: AsyncSession, random: Random, users: Sequence[Principal]
) -> int:
    """Create items of those users who may; return their number."""
    owners = [user for user in users if user.may("items:write")]
    for number in range(ITEMS):
        thing = random.choice(THINGS)
        description = f"{thing}, {random.choice(STATES)}." if random.random() < 0.7 else None
        new = ItemCreate(title=f"{thing} {number + 1}", description=description)
        await service.create_item(context, session, random.choice(owners), new)
    return ITEMS
