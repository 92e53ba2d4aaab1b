"""Pages that end before their rows have too many bytes.

The database adds up sizes, which it knows without reading the texts, so that what does not fit is
never loaded.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic_core import to_json
from sqlalchemy import ColumnElement, Integer, Select, case, func, literal_column, null, or_, select

from backend.db.query_runner import Row

PAGE_BYTES = 2 * 1024 * 1024
# Of a row, for all that it holds beside its large texts.
ROW_BYTES = 1024
# Of one character as JSON: control characters are written as \u0001. One byte becomes no more.
CHARACTER_BYTES = 6


def may_exceed(large: Mapping[str, int], limit: int) -> bool:
    """Whether so many rows with these texts (their greatest length) could have too many bytes."""
    row = ROW_BYTES + CHARACTER_BYTES * sum(large.values())
    return bool(large) and limit > 1 and limit * row > PAGE_BYTES


def without(
    statement: Select[*tuple[Any, ...]], omitted: Collection[str]
) -> Select[*tuple[Any, ...]]:
    """The statement with NULL for these columns."""
    columns = [
        null().cast(each.type).label(each.key) if each.key in omitted else each
        for each in statement.selected_columns
    ]
    return statement.with_only_columns(*columns, maintain_column_froms=True)


def bounded(
    page: Select[*tuple[Any, ...]], order: Sequence[tuple[str, bool]], large: Collection[str]
) -> Select[*tuple[Any, ...]]:
    """The rows of a page that fit, one at least, and the first that does not, without its texts.

    `order` names the columns that the page is sorted by, and tells which of them descend.
    """
    rows = page.subquery("page")
    size = _number(ROW_BYTES)
    for name in large:
        size += func.coalesce(func.octet_length(rows.c[name]), _number(0))
    sorting = [rows.c[name].desc() if down else rows.c[name].asc() for name, down in order]
    sums = select(
        *rows.c,
        func.sum(size).over(order_by=sorting, rows=(None, 0)).label("page_bytes"),
        size.label("row_bytes"),
    ).subquery("sums")
    c = sums.c
    before = c.page_bytes - c.row_bytes
    limit = _number(PAGE_BYTES)
    fits = or_(c.page_bytes <= limit, before == _number(0))
    columns = [
        case((fits, c[each.key])).label(each.key) if each.key in large else c[each.key]
        for each in rows.c
    ]
    ordered = [c[name].desc() if down else c[name].asc() for name, down in order]
    return select(*columns, c.page_bytes).where(before <= limit).order_by(*ordered)


def _number(value: int) -> ColumnElement[int]:
    # Part of the text: a parameter would travel with every request.
    return literal_column(str(value), Integer)


def cut(rows: list[Row], large: Collection[str]) -> bool:
    """Keep those rows of a `bounded` page that also fit as JSON; whether that leaves any out."""
    found = len(rows)
    sizes = [row.pop("page_bytes") for row in rows]
    if found > 1 and sizes[-1] > PAGE_BYTES:
        del rows[-1]
    if rows and sizes[len(rows) - 1] * CHARACTER_BYTES > PAGE_BYTES:
        del rows[_fitting(rows, large) :]
    return len(rows) < found


def _fitting(rows: Sequence[Row], large: Collection[str]) -> int:
    """How many of the first rows."""
    size = 0
    for position, row in enumerate(rows):
        size += ROW_BYTES + sum(len(to_json(row[name])) for name in large)
        if size > PAGE_BYTES and position:
            return position
    return len(rows)
