"""Pages of collections, and their expected order."""

from collections.abc import Awaitable, Callable
from typing import Any


async def walk(page_of: Callable[..., Awaitable[dict[str, Any]]], **parameters: Any) -> list[Any]:
    """Return the rows of all pages."""
    page = await page_of(**parameters)
    rows: list[Any] = page["data"]
    while page["next_cursor"]:
        page = await page_of(**parameters, cursor=page["next_cursor"])
        assert page["data"], "a cursor led to an empty page"
        rows += page["data"]
    return rows


def expected_order(rows: list[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """Return the rows sorted in Python: null sorts first, and ids break ties in the direction of
    the last field."""
    terms = sort.split(",")
    last = terms[-1].startswith("-")
    rows = sorted(rows, key=lambda row: str(row["id"]), reverse=last)
    for term in reversed(terms):
        name = term.removeprefix("-")
        rows.sort(key=lambda row: row[name] or "", reverse=term.startswith("-"))
    return rows
