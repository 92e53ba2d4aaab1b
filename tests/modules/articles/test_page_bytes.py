"""Pages of large rows end early, and no rows beyond their end are read."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from fastapi import FastAPI

from backend.core.context import Context
from backend.db.read_limits import PER_CALLER, PerCallerLimiter
from backend.modules.articles.models import Article
from tests.actors import Actor, Client
from tests.pages import expected_order
from tests.samples import sample
from tests.statements import Statements

Item = sample("items.models", "Item")
ARTICLES, ITEMS = "/api/v1/articles", "/api/v1/items"
MIB = 1024 * 1024
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of characters of text that each statement has read."""
    seen: list[int] = []
    fetchall = psycopg.AsyncCursor.fetchall

    async def watched(self: Any) -> Any:
        rows = await fetchall(self)
        texts = (each for row in rows for each in row.values() if isinstance(each, str))
        seen.append(sum(map(len, texts)))
        return rows

    monkeypatch.setattr(psycopg.AsyncCursor, "fetchall", watched)
    return seen


async def publish(context: Context, author: UUID, contents: list[str | None]) -> None:
    async with context.database.transaction() as session:
        for number, content in enumerate(contents):
            article = Article(
                title=f"Tree {number % 7}",
                content=content,
                author_id=author,
                status="published",
                published_at=NOON + timedelta(days=number % 5),
                created_at=NOON + timedelta(minutes=number),
            )
            session.add(article)


async def pages_of(caller: Actor | Client, path: str, **parameters: Any) -> list[dict[str, Any]]:
    """Return all pages, each with its size in bytes."""
    url: str | None = path
    found = []
    while url:
        answer = await caller.get(url, params=parameters if url == path else None)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        url = answer.links.get("next", {}).get("url")
        assert bool(url) == bool(page["next_cursor"])
        found.append(page | {"bytes": len(answer.content)})
    return found


@pytest.mark.parametrize(
    "order", [{"sort": "-created_at"}, {"sort": "title,-published_at"}, {"q": "tree"}]
)
async def test_large_pages_end_early_and_hide_nothing(
    ada: Actor, context: Context, loaded: list[int], order: dict[str, str]
) -> None:
    sizes = [10, 490_000, 300_000, 0, 490_000, 490_000, 490_000, 490_000, 5, 200_000, 490_000]
    await publish(context, ada.id, ["tree " * (size // 5) or None for size in sizes])
    loaded.clear()
    pages = await pages_of(ada, ARTICLES, limit=100, total="true", **order)
    assert len(pages) == 2
    assert all(page["bytes"] <= 2 * MIB for page in pages)
    assert max(loaded) < 2 * MIB
    assert {page["total"] for page in pages} == {len(sizes)}
    rows = [row for page in pages for row in page["data"]]
    assert len(rows) == len({row["id"] for row in rows}) == len(sizes)
    if "sort" in order:
        assert rows == expected_order(rows, order["sort"])
    # The first row of the next page did not fit.
    assert pages[0]["bytes"] + len(pages[1]["data"][0]["content"] or "") > 2 * MIB - 100_000


async def test_pages_by_number_stay_reachable(ada: Actor, context: Context) -> None:
    await publish(context, ada.id, ["x" * 490_000] * 9)
    titles: list[str] = []
    while True:
        parameters = {"limit": 100, "offset": len(titles), "sort": "created_at"}
        page = (await ada.get(ARTICLES, params=parameters)).json()
        titles += [row["title"] for row in page["data"]]
        if page["next_cursor"] is None:
            break
        assert len(page["data"]) == 4
    assert titles == [f"Tree {number % 7}" for number in range(9)]


async def test_a_page_ends_early_and_keeps_its_limit(ada: Actor, context: Context) -> None:
    await publish(context, ada.id, ["x" * 490_000] * 4 + [None] * 30)
    pages = await pages_of(ada, ARTICLES, limit=15, sort="created_at")
    assert [len(page["data"]) for page in pages] == [15, 15, 4]
    pages = await pages_of(ada, ARTICLES, limit=3, sort="created_at", offset=2)
    assert [len(page["data"]) for page in pages] == [3] * 10 + [2]


async def test_a_row_larger_than_a_page_is_a_page(ada: Actor, context: Context) -> None:
    await publish(context, ada.id, ["a", "\x01" * 499_999, "b", "c"])
    pages = await pages_of(ada, ARTICLES, limit=100, sort="created_at")
    assert [len(page["data"]) for page in pages] == [1, 1, 2]
    assert pages[1]["bytes"] > 2 * MIB


async def test_a_row_that_the_database_knows_to_be_larger_is_a_page_too(
    ada: Actor, context: Context
) -> None:
    await publish(context, ada.id, ["a", "x" * (2 * MIB + 1), "b", "c"])
    pages = await pages_of(ada, ARTICLES, limit=100, sort="created_at")
    assert [len(page["data"]) for page in pages] == [1, 1, 2]


@pytest.mark.parametrize("character", ["\x01", '"', "\N{GRINNING FACE}"])
async def test_what_counts_are_the_bytes_that_are_sent(
    ada: Actor, context: Context, character: str
) -> None:
    await publish(context, ada.id, [character * 20_000] * 110)
    pages = await pages_of(ada, ARTICLES, limit=100)
    assert sum(len(page["data"]) for page in pages) == 110
    assert len(pages) > 2
    for page in pages:
        assert page["bytes"] <= 2 * MIB
    for page in pages[:-1]:
        assert page["bytes"] > 1.8 * MIB


async def test_fields_without_the_content_are_whole_pages(
    ada: Actor, context: Context, loaded: list[int]
) -> None:
    await publish(context, ada.id, ["x" * 490_000] * 12)
    loaded.clear()
    pages = await pages_of(ada, ARTICLES, limit=100, fields="id,title,author")
    assert [len(page["data"]) for page in pages] == [12]
    assert pages[0]["data"][0].keys() == {"id", "title", "author"}
    assert max(loaded) < 1000
    pages = await pages_of(ada, ARTICLES, limit=100, fields="content")
    assert [len(page["data"]) for page in pages] == [4, 4, 4]
    assert {len(row["content"]) for page in pages for row in page["data"]} == {490_000}


async def test_pages_of_items(ada: Actor, context: Context, statements: Statements) -> None:
    async with context.database.transaction() as session:
        session.add_all(
            Item(title="a", description="\N{GRINNING FACE}" * 10_000, owner_id=ada.id)
            for _ in range(110)
        )
    pages = await pages_of(ada, ITEMS, limit=100)
    rows = [row["id"] for page in pages for row in page["data"]]
    assert len(rows) == len(set(rows)) == 110
    assert all(page["bytes"] <= 2 * MIB for page in pages)
    assert len(pages) == 3
    # So few rows cannot exceed the limit, so their bytes are not summed.
    statements.clear()
    assert [len(page["data"]) for page in await pages_of(ada, ITEMS, limit=20, offset=90)] == [20]
    assert not any("page_bytes" in each for each in statements)


async def test_so_many_large_pages_are_in_memory_at_once(
    ada: Actor, bob: Actor, context: Context, app: FastAPI, statements: Statements
) -> None:
    app.state.context = replace(context, large_pages=PerCallerLimiter(1, 5))
    await publish(context, ada.id, ["x" * 1000] * 3)
    second: list[asyncio.Task[Any]] = []

    def reader() -> int:
        return sum("page_bytes" in each for each in statements)

    async def ask_again() -> None:
        """Send requests while the first page, already in memory, waits for its authors."""
        second.append(asyncio.create_task(bob.get(ARTICLES)))
        for small in ({"fields": "id"}, {"limit": 1}):
            assert (await ada.get(ARTICLES, params=small)).status_code == 200
        await asyncio.sleep(0.1)
        assert reader() == 1

    statements.before("any(%(ids)s)", ask_again)
    assert (await ada.get(ARTICLES)).status_code == 200
    assert (await second[0]).status_code == 200
    assert reader() == 2
    assert not statements.waiting


async def test_one_caller_takes_one_place_of_the_large_pages(
    ada: Actor, bob: Actor, client: Client, context: Context, app: FastAPI
) -> None:
    pages = PerCallerLimiter(2, 5)
    app.state.context = replace(context, large_pages=pages)
    await publish(context, ada.id, ["x" * 1000] * 3)
    async with pages.place(ada.id):
        flood = [asyncio.create_task(ada.get(ARTICLES)) for _ in range(PER_CALLER + 3)]
        for other in (bob, client):
            assert (await other.get(ARTICLES)).status_code == 200
        while sum(each.done() for each in flood) < 4:  # noqa: ASYNC110  # no event is set
            await asyncio.sleep(0.01)
    answers = Counter([(await each).status_code for each in flood])
    assert answers == {200: PER_CALLER - 1, 429: 4}
