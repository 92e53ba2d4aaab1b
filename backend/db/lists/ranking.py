"""Ranking of a bounded number of matches, best matches first.

Computing a rank reads the whole row, so only the newest `RANKED_ROWS` matches are ranked; older
ones follow, newest first. The first page determines which rows are ranked, and cursors contain the
first and the last of them, so that concurrent writes do not change the set.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Double,
    Select,
    bindparam,
    case,
    literal_column,
    select,
    tuple_,
)

RANKED_ROWS = 1000
# Less than any rank.
_UNRANKED = literal_column("-1.0", Double)
Newest = Sequence[ColumnElement[Any]]  # Sort keys, all descending: the newest first.


def edge_names(newest: Newest) -> list[str]:
    """Return the names of the parameters for the first and the last ranked row."""
    return _names("newest", newest) + _names("oldest", newest)


def edges(matches: Select[*tuple[Any, ...]], newest: Newest) -> Select[*tuple[Any, ...]]:
    """Return a statement for one row with `edge_names`, or no row if nothing matches."""
    keys = [key.label(f"key_{position}") for position, key in enumerate(newest)]
    recent = (
        matches.with_only_columns(*keys, maintain_column_froms=True)
        .order_by(*(key.desc() for key in newest))
        .limit(literal_column(str(RANKED_ROWS)))
        .cte("recent")
    )
    first = select(recent).order_by(*(key.desc() for key in recent.c)).limit(1).subquery("first")
    last = select(recent).order_by(*(key.asc() for key in recent.c)).limit(1).subquery("last")
    named = zip(edge_names(newest), [*first.c, *last.c], strict=True)
    return select(*(key.label(name) for name, key in named))


def bounded_rank(rank: ColumnElement[float], newest: Newest) -> ColumnElement[float]:
    """Return the rank of a row, which is -1 for rows older than the ranked ones."""
    return case((tuple_(*newest) >= _edge("oldest", newest), rank), else_=_UNRANKED)


def no_newer(newest: Newest) -> ColumnElement[bool]:
    """Return the condition that a row is not newer than the ranked ones."""
    no_newer: ColumnElement[bool] = tuple_(*newest) <= _edge("newest", newest)
    return no_newer


def _names(end: str, newest: Newest) -> list[str]:
    return [f"{end}_{position}" for position in range(len(newest))]


def _edge(end: str, newest: Newest) -> Any:
    names = _names(end, newest)
    binds = (bindparam(name, type_=key.type) for name, key in zip(names, newest, strict=True))
    return tuple_(*binds)
