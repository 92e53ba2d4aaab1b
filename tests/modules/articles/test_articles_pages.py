"""Keyset pages of articles, with sorts by a nullable time and by rank."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import permutations, product
from typing import Any
from uuid import UUID

import pytest

from backend.core.context import Context
from backend.modules.articles.models import Article
from tests.actors import Actor, Client
from tests.pages import expected_order, walk

ARTICLES = "/api/v1/articles"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
COUNT = 24


def sorts() -> Iterator[str]:
    """Yield every sort by one or two fields, in every mixture of directions."""
    names = ("created_at", "updated_at", "published_at", "title")
    for length in (1, 2):
        for chosen in permutations(names, length):
            for signs in product(("", "-"), repeat=length):
                yield ",".join(sign + name for sign, name in zip(signs, chosen, strict=True))


async def stock(context: Context, author: UUID) -> None:
    """Insert rows with few values, so that every sort has ties; a third was never published."""
    async with context.database.transaction() as session:
        for number in range(COUNT):
            published = number % 3 != 0
            session.add(
                Article(
                    title="abca"[number % 4],
                    content="tree " * (number % 5) + "of knowledge",
                    author_id=author,
                    status="published" if published else "draft",
                    published_at=NOON + timedelta(days=number % 5) if published else None,
                    created_at=NOON + timedelta(minutes=number % 3),
                    updated_at=NOON + timedelta(minutes=number % 4),
                )
            )


async def page_of(actor: Actor | Client, **parameters: Any) -> dict[str, Any]:
    answer = await actor.get(ARTICLES, params=parameters)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def test_walking_yields_each_row_once_in_every_order(ada: Actor, context: Context) -> None:
    await stock(context, ada.id)
    rows = (await page_of(ada, limit=100))["data"]
    assert len(rows) == COUNT
    for sort in sorts():
        ordered = expected_order(rows, sort)
        assert (await page_of(ada, limit=100, sort=sort))["data"] == ordered, sort
        assert await walk(partial(page_of, ada), limit=7, sort=sort) == ordered, sort


@pytest.mark.parametrize("limit", [1, 2, 3, 23, 24])
@pytest.mark.parametrize("sort", ["published_at", "-published_at", "-published_at,title"])
async def test_cursor_pages_equal_offset_pages(
    ada: Actor, context: Context, sort: str, limit: int
) -> None:
    await stock(context, ada.id)
    cursor: dict[str, str] = {}
    for offset in range(0, COUNT, limit):
        by_offset = await page_of(ada, sort=sort, limit=limit, offset=offset)
        by_cursor = await page_of(ada, sort=sort, limit=limit, **cursor)
        assert by_cursor == by_offset
        cursor = {"cursor": by_cursor["next_cursor"]}
    assert cursor == {"cursor": None}


@pytest.mark.parametrize("limit", [1, 2, 5, 24])
async def test_pages_in_rank_order(ada: Actor, context: Context, limit: int) -> None:
    await stock(context, ada.id)
    whole = (await page_of(ada, q="tree", limit=100))["data"]
    matching = COUNT - len(range(0, COUNT, 5))
    assert len(whole) == matching
    words = [row["content"].count("tree") for row in whole]
    assert words == sorted(words, reverse=True)
    assert await walk(partial(page_of, ada), q="tree", limit=limit) == whole
    offsets = [
        row
        for offset in range(0, matching, limit)
        for row in (await page_of(ada, q="tree", limit=limit, offset=offset))["data"]
    ]
    assert offsets == whole


async def test_an_explicit_order_wins_over_the_rank(ada: Actor, context: Context) -> None:
    await stock(context, ada.id)
    rows = await walk(partial(page_of, ada), q="tree", limit=5, sort="title,-created_at")
    assert rows == expected_order(rows, "title,-created_at")
    assert rows != await walk(partial(page_of, ada), q="tree", limit=5)


async def test_rows_that_come_and_go_disturb_no_page(ada: Actor, context: Context) -> None:
    await stock(context, ada.id)
    for parameters in ({}, {"sort": "-published_at,title"}, {"q": "tree"}):
        before = (await page_of(ada, limit=100, **parameters))["data"]
        page = await page_of(ada, limit=5, **parameters)
        seen = page["data"]
        gone = [seen[0], seen[-1], before[7]]
        for article in gone:
            assert (await ada.delete(f"{ARTICLES}/{article['id']}")).status_code == 204
        made = await ada.post(ARTICLES, json={"title": "zz", "content": "tree " * 99})
        while page["next_cursor"]:
            page = await page_of(ada, limit=5, cursor=page["next_cursor"], **parameters)
            seen = seen + page["data"]
        seen_ids = [row["id"] for row in seen]
        expected = [row["id"] for row in before if row is not before[7]]
        assert [id for id in seen_ids if id != made.json()["id"]] == expected
        await ada.delete(made.headers["location"])


async def test_a_cursor_is_good_for_its_own_list_only(
    ada: Actor, bob: Actor, editor: Actor, client: Client, context: Context
) -> None:
    await stock(context, ada.id)
    anonymous = (await page_of(client, limit=2))["next_cursor"]
    adas = (await page_of(ada, limit=2))["next_cursor"]
    ranked = (await page_of(ada, limit=2, q="tree"))["next_cursor"]
    drafts = (await page_of(ada, limit=2, status="draft"))["next_cursor"]
    hers = (await page_of(ada, limit=2, author_id=str(ada.id)))["next_cursor"]
    refusals: list[tuple[Actor | Client, dict[str, Any]]] = [
        (client, {"cursor": adas}),
        (ada, {"cursor": anonymous}),
        (bob, {"cursor": adas}),
        (editor, {"cursor": adas}),
        (ada, {"cursor": adas, "sort": "title"}),
        (ada, {"cursor": adas, "q": "tree"}),
        (ada, {"cursor": adas, "status": "draft"}),
        (ada, {"cursor": ranked}),
        (ada, {"cursor": ranked, "q": "of"}),
        (ada, {"cursor": ranked, "q": "tree", "sort": "-created_at"}),
        (ada, {"cursor": drafts, "status": "published"}),
        (ada, {"cursor": hers, "author_id": str(bob.id)}),
    ]
    for actor, parameters in refusals:
        refused = await actor.get(ARTICLES, params=parameters)
        assert refused.status_code == 400, parameters
        assert refused.json()["error"] == "INVALID_CURSOR"
    page = await page_of(ada, q="tree", cursor=ranked, limit=1, fields="id")
    assert page["data"][0].keys() == {"id"}


async def test_the_link_leads_to_the_next_page(
    client: Client, ada: Actor, context: Context
) -> None:
    await stock(context, ada.id)
    url = f"{ARTICLES}?q=tree+of&limit=3&fields=id"
    whole = [row["id"] for row in await walk(partial(page_of, client), q="tree of", limit=100)]
    seen = []
    while True:
        answer = await client.get(url)
        seen += [row["id"] for row in answer.json()["data"]]
        if "link" not in answer.headers:
            break
        url = answer.headers["link"].partition(">")[0].removeprefix("<")
    assert seen == whole
