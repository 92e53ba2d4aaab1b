"""Searches use a bounded part of the query and rank a bounded number of matches."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from backend.core.context import Context
from backend.db.lists.ranking import RANKED_ROWS
from backend.db.lists.specs import MAX_CHARACTERS, MAX_WORDS, first_words
from tests.actors import Actor, Client
from tests.pages import walk

ARTICLES = "/api/v1/articles"
WORDS = [f"w{number}x" for number in range(MAX_WORDS + 1)]
KEPT, LAST = WORDS[:-1], WORDS[-1]


async def page_of(caller: Actor | Client, **parameters: Any) -> dict[str, Any]:
    answer = await caller.get(ARTICLES, params=parameters)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def found(caller: Actor | Client, q: str, path: str = ARTICLES) -> list[str]:
    answer = await caller.get(path, params={"q": q, "fields": "title"})
    assert answer.status_code == 200, answer.text
    return [row["title"] for row in answer.json()["data"]]


# Words


@pytest.mark.parametrize(
    "joint",
    [" ", "-", "/", ".", ",", "@", "_", "'", "+", " & ", " or ", " OR  or ", '" "', "\n", " -- "],
    ids=ascii,
)
def test_words_are_counted_however_they_are_joined(joint: str) -> None:
    whole = joint.join(KEPT)
    assert first_words(whole) == whole
    cut = first_words(joint.join(WORDS))
    assert cut.startswith(whole)
    assert LAST not in cut
    assert not cut[len(whole) :].strip(joint)


@pytest.mark.parametrize(
    "q",
    [
        "",
        "one",
        '"one two" -three or four',
        "or " * 500 + "two",
        "- " * 900,
        "你好 世界",
        "हिन्दी " * MAX_WORDS,
        f'"{" ".join(KEPT)}"',
        f"{' '.join(KEPT)} !?",
    ],
    ids=lambda q: ascii(q[:12]),
)
def test_what_is_short_enough_stays_as_it_is(q: str) -> None:
    assert first_words(q) == q.rstrip() or first_words(q) == q


def test_characters_are_counted_as_well() -> None:
    assert first_words("x" * 60_000) == "x" * MAX_CHARACTERS
    assert len(first_words("☃ " * 5000)) < 2 * MAX_WORDS
    assert len(first_words("or " * 30_000)) == MAX_CHARACTERS


@pytest.mark.parametrize("joint", [" ", " or ", '" "'])
async def test_further_words_change_nothing(ada: Actor, joint: str) -> None:
    for title, content in (("first", " ".join(KEPT)), ("last", LAST)):
        made = await ada.post(ARTICLES, json={"title": title, "content": content})
        assert made.status_code == 201
    assert await found(ada, LAST) == ["last"]
    assert await found(ada, joint.join(WORDS)) == ["first"]
    assert await found(ada, f"{joint.join(KEPT)} -{KEPT[0]}") == ["first"]


async def test_further_words_change_nothing_in_other_lists(ada: Actor, admin: Actor) -> None:
    title = " ".join(KEPT)
    await ada.post("/api/v1/items", json={"title": title})
    for q in (title, f"{title} and more"):
        assert await found(ada, q, "/api/v1/items") == [title]
    assert await found(ada, f"{title[1:]}.", "/api/v1/items") == []
    await ada.patch("/api/v1/users/me", json={"full_name": title})
    for q in (title, f"{title} and more"):
        answer = await admin.get("/api/v1/users", params={"q": q})
        assert [user["full_name"] for user in answer.json()["data"]] == [title]


# Ranks


async def stock(context: Context, author: Actor, count: int) -> None:
    """Insert articles: 0 is the newest, every seventh is a better match than the others."""
    async with context.database.transaction() as session:
        await (await session.connection()).execute(
            text(
                "INSERT INTO articles (id, title, content, status, author_id, created_at,"
                " updated_at) SELECT gen_random_uuid(), i::text,"
                " repeat('tree ', CASE WHEN i % 7 = 0 THEN 5 ELSE 1 END), 'draft', :author,"
                " moment, moment FROM generate_series(0, :count - 1) AS i,"
                " LATERAL (SELECT timestamptz '2026-01-01Z' - i * interval '1 s') AS m (moment)"
            ),
            {"author": author.id, "count": count},
        )


def in_rank_order(count: int) -> list[str]:
    best = [number for number in range(RANKED_ROWS) if number % 7 == 0]
    others = [number for number in range(RANKED_ROWS) if number % 7]
    return [str(number) for number in (*best, *others, *range(RANKED_ROWS, count))]


async def test_the_newest_matches_are_ranked_and_the_others_follow(
    ada: Actor, context: Context
) -> None:
    count = RANKED_ROWS + 60
    await stock(context, ada, count)
    expected = in_rank_order(count)
    # Good matches among the older articles are not ranked.
    assert expected[-10] == str(RANKED_ROWS + 50)
    walked = await walk(partial(page_of, ada), q="tree", limit=90, fields="title")
    assert [row["title"] for row in walked] == expected
    for offset in (0, 950, RANKED_ROWS - 5, RANKED_ROWS, count - 7, count):
        page = await page_of(ada, q="tree", limit=10, offset=offset, fields="title", total="true")
        assert [row["title"] for row in page["data"]] == expected[offset : offset + 10]
        assert page["total"] == count
    by_title = await page_of(ada, q="tree", sort="title", limit=3)
    assert [row["title"] for row in by_title["data"]] == ["0", "1", "10"]


async def test_what_is_written_meanwhile_disturbs_no_walk(ada: Actor, context: Context) -> None:
    count = RANKED_ROWS + 60
    await stock(context, ada, count)
    expected = in_rank_order(count)
    page = await page_of(ada, q="tree", limit=100)
    seen = [row["title"] for row in page["data"]]
    gone = [page["data"][0], page["data"][-1]]
    while page["next_cursor"]:
        # Each new match would push an older one out of the ranked rows.
        made = await ada.post(ARTICLES, json={"title": "new", "content": "tree " * 9})
        assert made.status_code == 201
        for article in gone:
            assert (await ada.delete(f"{ARTICLES}/{article['id']}")).status_code == 204
        gone = []
        page = await page_of(ada, q="tree", limit=100, cursor=page["next_cursor"])
        seen += [row["title"] for row in page["data"]]
    assert seen == expected


async def test_ranks_are_computed_of_the_newest_only(ada: Actor, context: Context) -> None:
    """This also holds for a cursor made when there were few matches."""
    await stock(context, ada, 5)
    first = await page_of(ada, q="tree", limit=1)
    async with context.database.transaction() as session:
        await (await session.connection()).execute(
            text(
                "INSERT INTO articles (id, title, content, status, author_id, created_at,"
                " updated_at) SELECT gen_random_uuid(), 'later', 'tree tree', 'draft', :author,"
                " now(), now() FROM generate_series(1, :count)"
            ),
            {"author": ada.id, "count": RANKED_ROWS},
        )
    rest = await page_of(ada, q="tree", limit=100, cursor=first["next_cursor"])
    titles = [row["title"] for row in (*first["data"], *rest["data"])]
    assert titles == ["0", "1", "2", "3", "4"]
    assert rest["next_cursor"] is None
