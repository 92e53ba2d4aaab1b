"""Keyset pages of items return every row once, in every sort and during changes."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import permutations, product
from typing import Any
from uuid import UUID

import pytest

from backend.core.context import Context
from backend.modules.items.models import Item
from tests.actors import Actor
from tests.pages import expected_order, walk

ITEMS = "/api/v1/items"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
# Few values for many rows, so that every order has ties.
ROWS = [
    (NOON + timedelta(minutes=number % 3), NOON + timedelta(minutes=number % 4), "abca"[number % 4])
    for number in range(24)
]


def sorts() -> Iterator[str]:
    """Yield every sort, in every mixture of directions."""
    names = ("created_at", "updated_at", "title")
    for length in (1, 2, 3):
        for chosen in permutations(names, length):
            for signs in product(("", "-"), repeat=length):
                yield ",".join(sign + name for sign, name in zip(signs, chosen, strict=True))


async def stock(context: Context, owner: UUID) -> None:
    async with context.database.transaction() as session:
        for created_at, updated_at, title in ROWS:
            session.add(
                Item(title=title, owner_id=owner, created_at=created_at, updated_at=updated_at)
            )


async def page_of(actor: Actor, **parameters: Any) -> dict[str, Any]:
    answer = await actor.get(ITEMS, params=parameters)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def test_walking_yields_each_row_once_in_every_order(ada: Actor, context: Context) -> None:
    await stock(context, ada.id)
    rows = (await page_of(ada, limit=100))["data"]
    for sort in sorts():
        ordered = expected_order(rows, sort)
        assert (await page_of(ada, limit=100, sort=sort))["data"] == ordered, sort
        assert await walk(partial(page_of, ada), limit=7, sort=sort) == ordered, sort


@pytest.mark.parametrize("sort", ["-created_at", "title", "-created_at,title"])
@pytest.mark.parametrize("limit", [1, 5, 8, 23, 24, 25])
async def test_cursor_pages_equal_offset_pages(
    ada: Actor, context: Context, sort: str, limit: int
) -> None:
    await stock(context, ada.id)
    cursor: dict[str, str] = {}
    for offset in range(0, len(ROWS), limit):
        by_offset = await page_of(ada, sort=sort, limit=limit, offset=offset)
        by_cursor = await page_of(ada, sort=sort, limit=limit, **cursor)
        assert by_cursor == by_offset
        cursor = {"cursor": by_cursor["next_cursor"]}
    assert cursor == {"cursor": None}


async def test_the_default_order_is_newest_first(ada: Actor, context: Context) -> None:
    await stock(context, ada.id)
    assert await walk(partial(page_of, ada), limit=5) == await walk(
        partial(page_of, ada), limit=5, sort="-created_at"
    )


async def test_rows_that_come_and_go_disturb_no_page(ada: Actor, context: Context) -> None:
    await stock(context, ada.id)
    before = (await page_of(ada, limit=100))["data"]
    page = await page_of(ada, limit=5)
    seen = page["data"]
    # Delete rows before, at and after the cursor.
    gone = [seen[0], seen[-1], before[7], before[20]]
    for item in gone:
        assert (await ada.delete(f"{ITEMS}/{item['id']}")).status_code == 204
    new = (await ada.post(ITEMS, json={"title": "new"})).json()
    while page["next_cursor"]:
        page = await page_of(ada, limit=5, cursor=page["next_cursor"])
        seen = seen + page["data"]
    assert new not in seen
    assert seen == [row for row in before if row not in gone[2:]]


async def test_a_row_added_ahead_of_the_cursor_is_met(ada: Actor, context: Context) -> None:
    await stock(context, ada.id)
    page = await page_of(ada, limit=5)
    async with context.database.transaction() as session:
        session.add(Item(title="older", owner_id=ada.id, created_at=NOON - timedelta(days=1)))
    rows = []
    while page["next_cursor"]:
        page = await page_of(ada, limit=5, cursor=page["next_cursor"])
        rows += page["data"]
    assert rows[-1]["title"] == "older"


async def test_another_limit_other_fields_and_a_count_are_fine(
    ada: Actor, context: Context
) -> None:
    await stock(context, ada.id)
    rows = (await page_of(ada, limit=100))["data"]
    cursor = (await page_of(ada, limit=3))["next_cursor"]
    page = await page_of(ada, limit=100, fields="title", total="true", cursor=cursor)
    assert page["data"] == [{"title": row["title"]} for row in rows[3:]]
    assert (page["total"], page["next_cursor"]) == (24, None)


async def test_fields_without_the_sort_keys_still_yield_a_cursor(
    ada: Actor, context: Context
) -> None:
    await stock(context, ada.id)
    rows = await walk(
        partial(page_of, ada), limit=5, sort="title,-updated_at", fields="description"
    )
    assert rows == [{"description": None}] * len(ROWS)


async def test_a_cursor_is_good_for_its_own_list_only(
    ada: Actor, bob: Actor, admin: Actor, context: Context
) -> None:
    for owner in (ada.id, bob.id):
        await stock(context, owner)
    cursors = {
        actor.username: (await page_of(actor, limit=2))["next_cursor"]
        for actor in (ada, bob, admin)
    }
    filtered = (await page_of(ada, limit=2, created_after="2026-01-01T00:00:00Z"))["next_cursor"]
    searched = (await page_of(ada, limit=2, q="a"))["next_cursor"]
    for actor, parameters in (
        (ada, {"cursor": cursors["bob"]}),
        (bob, {"cursor": cursors["ada"]}),
        (ada, {"cursor": cursors["root"]}),
        (admin, {"cursor": cursors["ada"]}),
        (ada, {"cursor": cursors["ada"], "sort": "created_at"}),
        (ada, {"cursor": cursors["ada"], "sort": "-created_at,title"}),
        (ada, {"cursor": cursors["ada"], "q": "a"}),
        (ada, {"cursor": cursors["ada"], "created_after": "2026-01-01T00:00:00Z"}),
        (ada, {"cursor": cursors["ada"], "owner_id": str(ada.id)}),
        (ada, {"cursor": filtered}),
        (ada, {"cursor": filtered, "created_after": "2026-01-01T00:00:01Z"}),
        (ada, {"cursor": filtered, "created_before": "2026-01-01T00:00:00Z"}),
        (ada, {"cursor": searched}),
        (ada, {"cursor": searched, "q": "b"}),
        (ada, {"cursor": searched, "q": "a", "sort": "title"}),
    ):
        refused = await actor.get(ITEMS, params=parameters)
        assert refused.status_code == 400, parameters
        assert refused.json()["error"] == "INVALID_CURSOR"


async def test_a_cursor_of_another_collection_is_refused(ada: Actor, context: Context) -> None:
    await stock(context, ada.id)
    cursor = (await page_of(ada, limit=2))["next_cursor"]
    for path in ("/api/v1/articles", "/api/v1/auth/sessions"):
        refused = await ada.get(path, params={"cursor": cursor})
        assert refused.status_code == 400
        assert refused.json()["error"] == "INVALID_CURSOR"


async def test_a_cursor_is_refused_together_with_an_offset(ada: Actor, context: Context) -> None:
    await stock(context, ada.id)
    cursor = (await page_of(ada, limit=2))["next_cursor"]
    for offset in (0, 2):
        refused = await ada.get(ITEMS, params={"cursor": cursor, "offset": offset})
        assert refused.status_code == 422


async def test_a_forged_cursor_is_refused(ada: Actor, context: Context) -> None:
    await stock(context, ada.id)
    cursor: str = (await page_of(ada, limit=2))["next_cursor"]
    flipped = [
        cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :]
        for at in range(0, len(cursor) - 1, 7)
    ]
    plain = base64.urlsafe_b64encode(b"0" * 16 + b'["2026-01-01T00:00:00+00:00"]').decode()
    for forged in (
        "",
        "x",
        "====",
        "é",
        "\N{GRINNING FACE}",
        cursor[:-4],
        cursor + cursor,
        plain,
        "A" * 20_000,
        *flipped,
    ):
        refused = await ada.get(ITEMS, params={"cursor": forged})
        assert refused.status_code == 400, forged
        assert refused.json()["error"] == "INVALID_CURSOR"
