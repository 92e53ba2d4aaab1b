"""Limits on the bytes of a page.

The database sums up sizes, which it knows without reading the texts, so texts beyond the limit are
never loaded.
"""

from collections.abc import Collection, Sequence
from typing import Any

from pydantic_core import to_json
from sqlalchemy import ColumnElement, Integer, Select, case, func, literal_column, or_, select

from backend.db.query_runner import Row

PAGE_BYTES = 2 * 1024 * 1024
# Estimate for a row without its large texts.
ROW_BYTES = 1024
# The longest form of a character in JSON, \u0001; also the most bytes that one byte becomes.
CHARACTER_BYTES = 6
# Of the pages, and rows, that concurrent callers read by one statement.
SHARED_BYTES = 16 * PAGE_BYTES
SHARED_ROWS = 700


def rows_within(large: Collection[int]) -> int:
    """Return how many rows with texts of these maximal lengths are within the limit, at least 1."""
    return max(1, PAGE_BYTES // (ROW_BYTES + CHARACTER_BYTES * sum(large)))


def may_exceed(large: Collection[int], limit: int) -> bool:
    """Return whether `limit` rows with texts of these maximal lengths may have too many bytes."""
    return bool(large) and limit > rows_within(large)


def pages_within(large: Collection[int], rows: int) -> int:
    """Return how many pages of so many rows concurrent callers may read by one statement.

    Rows that may fill a page alone are never read for several callers.
    """
    if rows_within(large) == 1:
        return 1
    size = rows * (ROW_BYTES + CHARACTER_BYTES * sum(large))
    return min(SHARED_BYTES // size, SHARED_ROWS // rows)


def bounded(
    page: Select[*tuple[Any, ...]], order: Sequence[tuple[str, bool]], large: Collection[str]
) -> Select[*tuple[Any, ...]]:
    """Return a statement for the rows of a page within the limit, but at least one.

    It also selects the first row beyond the limit, without its texts. `order` contains the columns
    that the page is sorted by, and whether each is descending.
    """
    rows = page.subquery("page")
    size = _number(ROW_BYTES)
    for name in large:
        size += func.coalesce(func.octet_length(rows.c[name]), _number(0))
    sorting = [rows.c[name].desc() if down else rows.c[name].asc() for name, down in order]
    sums = select(
        *rows.c,
        func.sum(size).over(order_by=sorting, rows=(None, 0)).label("page_bytes"),
        func.row_number().over(order_by=sorting, rows=(None, 0)).label("page_position"),
        size.label("row_bytes"),
    ).subquery("sums")
    c = sums.c
    before = c.page_bytes - c.row_bytes
    limit = _number(PAGE_BYTES)
    fits = or_(c.page_bytes <= limit, c.page_position == _number(1))
    columns = [
        case((fits, c[each.key])).label(each.key) if each.key in large else c[each.key]
        for each in rows.c
    ]
    ordered = [c[name].desc() if down else c[name].asc() for name, down in order]
    # The first row may exceed the limit itself.
    selected = or_(before <= limit, c.page_position == _number(2))
    return select(*columns, c.page_bytes).where(selected).order_by(*ordered)


def _number(value: int) -> ColumnElement[int]:
    # A literal, because a parameter would be sent with every execution.
    return literal_column(str(value), Integer)


def cut(rows: list[Row], large: Collection[str]) -> bool:
    """Remove the rows of a `bounded` page that exceed the limit as JSON; return whether any did."""
    count = len(rows)
    sizes = [row.pop("page_bytes") for row in rows]
    if count > 1 and sizes[-1] > PAGE_BYTES:
        del rows[-1]
    if rows and sizes[len(rows) - 1] * CHARACTER_BYTES > PAGE_BYTES:
        del rows[_fitting(rows, large) :]
    return len(rows) < count


def _fitting(rows: Sequence[Row], large: Collection[str]) -> int:
    """Return how many of the rows fit into a page, at least one."""
    size = 0
    for position, row in enumerate(rows):
        size += ROW_BYTES + sum(len(to_json(row[name])) for name in large)
        if size > PAGE_BYTES and position:
            return position
    return len(rows)
