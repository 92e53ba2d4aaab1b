"""The number of a user's items in their statistics."""

from tests.actors import Actor

STATISTICS = "/api/v1/users/me/statistics"


async def test_only_ones_own_items_count(ada: Actor, bob: Actor) -> None:
    before = (await ada.get(STATISTICS)).json()
    for caller in (ada, ada, bob):
        await caller.post("/api/v1/items", json={"title": "Milk"})
    assert (await ada.get(STATISTICS)).json() == before | {"items": 2}
    assert (await bob.get(STATISTICS)).json() == before | {"items": 1}
