"""Full-text search: matches, their order, and arbitrary input."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.actors import Actor, Client

ARTICLES = "/api/v1/articles"
MAXIMUM = 500_000


async def written(ada: Actor, title: str, content: str | None = None) -> None:
    answer = await ada.post(ARTICLES, json={"title": title, "content": content})
    assert answer.status_code == 201, answer.text


async def found(caller: Actor | Client, q: str, **parameters: Any) -> list[str]:
    answer = await caller.get(ARTICLES, params={"q": q, "fields": "title", **parameters})
    assert answer.status_code == 200, answer.text
    return [article["title"] for article in answer.json()["data"]]


async def test_words_of_title_and_content_are_found(ada: Actor) -> None:
    await written(ada, "Analytical engines", "Weaving algebraic patterns.")
    await written(ada, "Without content")
    for q in ("engine", "ENGINES", "weave", "pattern engine", "algebraic"):
        assert await found(ada, q) == ["Analytical engines"], q
    assert await found(ada, "content") == ["Without content"]
    assert await found(ada, "engine content") == []
    assert await found(ada, "ngine") == []


async def test_the_web_search_syntax(ada: Actor) -> None:
    await written(ada, "a", "the quick brown fox")
    await written(ada, "b", "the brown quick dog")
    assert await found(ada, '"quick brown"') == ["a"]
    assert set(await found(ada, "fox or dog")) == {"a", "b"}
    assert await found(ada, "brown -dog") == ["a"]
    assert await found(ada, 'brown -"quick dog"') == ["a"]
    assert await found(ada, 'brown -"quick brown"') == ["b"]
    assert await found(ada, "brown - dog") == ["b"]
    assert await found(ada, "brown --dog") == ["a"]


async def test_best_match_first(ada: Actor) -> None:
    await written(ada, "once", "tree and much else")
    await written(ada, "tree", "in the title")
    await written(ada, "often", "tree tree tree")
    await written(ada, "none", "of them")
    assert await found(ada, "tree") == ["tree", "often", "once"]
    assert await found(ada, "tree", sort="title") == ["often", "once", "tree"]
    assert await found(ada, "tree", sort="-title") == ["tree", "once", "often"]
    assert await found(ada, "tree", sort="created_at") == ["once", "tree", "often"]


async def test_a_change_is_found_at_once(ada: Actor) -> None:
    made = await ada.post(ARTICLES, json={"title": "Notes", "content": "old"})
    await ada.patch(made.headers["location"], json={"content": "new"})
    assert await found(ada, "old") == []
    assert await found(ada, "new") == ["Notes"]
    await ada.patch(made.headers["location"], json={"content": None})
    assert await found(ada, "new") == []


async def test_search_shows_nobody_what_they_may_not_see(
    ada: Actor, bob: Actor, editor: Actor, client: Client
) -> None:
    await written(ada, "Secret", "plans")
    assert await found(ada, "secret") == ["Secret"]
    assert await found(editor, "secret") == ["Secret"]
    for caller in (bob, client):
        page = await caller.get(ARTICLES, params={"q": "secret", "total": "true"})
        assert page.json() == {"data": [], "next_cursor": None, "total": 0}


@pytest.mark.parametrize(
    "q",
    [
        '"',
        '""',
        '"unbalanced',
        "'",
        "!",
        "!!",
        ":*",
        "tree:*",
        "tree:ABCD",
        "&|",
        "& | ! <->",
        "tree &",
        "<->",
        "<2>",
        "-",
        "--",
        "-tree",
        "- - -",
        "or",
        "or or or",
        "OR -or",
        "(",
        "((()",
        "\\",
        "\\\\'",
        "%",
        "%s",
        "%(q)s",
        "%%",
        "_",
        ";",
        "--;drop table articles",
        "$1",
        ":q",
        "the",
        "the and of",
        "\N{GRINNING FACE}",
        "\N{FAMILY}\N{ZERO WIDTH JOINER}",
        "\N{RIGHT-TO-LEFT OVERRIDE}tree",
        "\N{COMBINING ACUTE ACCENT}",
        "木",
        "a" * 50_000,
        "木" * 6_000,
        "\N{GRINNING FACE}" * 5_000,
        "tree " * 10_000,
        '"tree ' * 8_000,
        '"' + "tree-bush " * 5_000,
        "-" * 50_000,
        "- " * 25_000,
        "-!" * 25_000,
        "!" * 50_000,
        "(" * 50_000,
        "-a " * 16_000,
        "a or " * 10_000,
        " ".join(f"w{number}" for number in range(8_000)),
        "-".join(f"w{number}" for number in range(8_000)),
        "http://" + "a/" * 20_000,
        '-"a b" or ' * 4_000,
    ],
    ids=lambda q: repr(q[:12]) + f"x{len(q)}",
)
async def test_any_input_is_a_search(ada: Actor, q: str) -> None:
    await written(ada, "tree", "of knowledge")
    # Escape as little as possible: the client library refuses URLs longer than 64 KiB.
    url = f"{ARTICLES}?q={quote(q, safe='!()/: ').replace(' ', '+')}"
    whole = await ada.get(f"{url}&total=true")
    assert whole.status_code == 200, whole.text
    assert whole.json()["total"] == len(whole.json()["data"])
    assert (await ada.get(f"{url}&sort=title")).status_code == 200


def different_words(size: int) -> str:
    """Return text of `size` characters without a repeated word."""
    words: list[str] = []
    length = 0
    while length <= size:
        words.append(f"{len(words):x}q")
        length += len(words[-1]) + 1
    return " ".join(words)[:size].strip()


def four_byte_words(size: int, joint: str) -> str:
    """Return distinct words of four-byte characters, with parts that are words themselves."""
    words: list[str] = []
    for number in range(size // 4):
        first, second = chr(0x20000 + 2 * number), chr(0x20001 + 2 * number)
        words.append(f"{first}{joint}{second}")
    return " ".join(words)[:size].strip()


def addresses(size: int) -> str:
    """Return URLs, each of which is indexed as a whole, as a host and as a path."""
    words = [f"a{chr(0x20000 + number)}.de/{chr(0x30000 + number)}" for number in range(size // 8)]
    return " ".join(words)[:size].strip()


@pytest.mark.parametrize(
    "content",
    [
        "x" * MAXIMUM,
        "tree " * (MAXIMUM // 5),
        "\N{GRINNING FACE}" * (MAXIMUM // 2),
        chr(0x20000) * (MAXIMUM // 2),
        different_words(MAXIMUM),
        four_byte_words(240_000, " "),
        four_byte_words(240_000, "-"),
        four_byte_words(240_000, "/"),
        four_byte_words(240_000, "."),
        four_byte_words(240_000, "@"),
        addresses(180_000),
        # The number of words for which PostgreSQL takes the most time.
        pytest.param("-".join(f"{number:x}" for number in range(80_000)), marks=pytest.mark.slow),
        "<a " * 160_000,
        "&amp;" * 100_000,
        "1.5e" * 120_000,
    ],
    ids=lambda content: repr(content[:10]),
)
async def test_the_largest_contents_are_kept_and_found(ada: Actor, content: str) -> None:
    # Sent as UTF-8: a body of at most 1 MiB cannot hold `MAXIMUM` four-byte characters.
    body = f'{{"title": "Largest", "content": "{content}"}}'.encode()
    made = await ada.post(ARTICLES, content=body, headers={"Content-Type": "application/json"})
    assert made.status_code == 201, made.text
    assert made.json()["content"] == content.strip()
    assert await found(ada, "largest") == ["Largest"]
    changed = await ada.patch(made.headers["location"], json={"title": "Greatest"})
    assert changed.status_code == 200
    published = await ada.post(f"{made.headers['location']}/publish")
    assert published.status_code == 200


async def test_words_of_a_large_content_are_found(ada: Actor) -> None:
    await written(ada, "Large", different_words(MAXIMUM))
    assert await found(ada, "2fq") == ["Large"]


async def test_the_maximum_counts_characters_not_bytes(ada: Actor) -> None:
    await written(ada, "ascii", "x" * MAXIMUM)
    await written(ada, "two bytes", "é" * MAXIMUM)
