"""The numbers of a user's articles in their statistics."""

from tests.actors import Actor

STATISTICS = "/api/v1/users/me/statistics"


async def test_only_ones_own_articles_count(ada: Actor, bob: Actor) -> None:
    before = (await ada.get(STATISTICS)).json()
    for caller in (ada, ada, bob):
        await caller.post("/api/v1/articles", json={"title": "A", "content": "B"})
    drafts = (await bob.get("/api/v1/articles")).json()["data"]
    assert (await bob.post(f"/api/v1/articles/{drafts[0]['id']}/publish")).status_code == 200
    assert (await ada.get(STATISTICS)).json() == before | {"articles": 2}
    assert (await bob.get(STATISTICS)).json() == before | {"articles": 1, "articles_published": 1}
