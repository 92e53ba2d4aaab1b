"""Ranking of search results, limited to the newest matches.

Computing a rank requires reading the whole row, so only the newest `RANKED_ROWS` matches are
ranked; the older ones follow in the default order. The first page determines the edges, the
newest and the oldest ranked row, and the cursors contain them: writes between two pages do not
change the set of ranked rows.
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
# Less than any rank, because ranks are not negative.
_UNRANKED = literal_column("-1.0", Double)
Newest = Sequence[ColumnElement[Any]]  # the keys of the default sort, all descending


def edge_names(newest: Newest) -> list[str]:
    """Return the names of the parameters with the keys of the newest and oldest ranked row."""
    return _names("newest", newest) + _names("oldest", newest)


def edges(matches: Select[*tuple[Any, ...]], newest: Newest) -> Select[*tuple[Any, ...]]:
    """Return a statement that selects one row with the columns `edge_names`, or no row."""
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
    """Return an expression for a row's rank: -1 if it is older than the oldest ranked row."""
    return case((tuple_(*newest) >= _edge("oldest", newest), rank), else_=_UNRANKED)


def no_newer(newest: Newest) -> ColumnElement[bool]:
    """Return the condition that a row is not newer than the newest ranked row."""
    condition: ColumnElement[bool] = tuple_(*newest) <= _edge("newest", newest)
    return condition


def _names(end: str, newest: Newest) -> list[str]:
    return [f"{end}_{position}" for position in range(len(newest))]


def _edge(end: str, newest: Newest) -> Any:
    names = _names(end, newest)
    binds = (bindparam(name, type_=key.type) for name, key in zip(names, newest, strict=True))
    return tuple_(*binds)
