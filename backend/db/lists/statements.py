"""The statements of pages, compiled once for each combination of parameters and columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    bindparam,
    func,
    select,
    union_all,
)

from backend.db.lists import page_bytes, ranking
from backend.db.lists.keyset import Term, behind, is_nullable
from backend.db.lists.specs import ListSpec
from backend.db.queries import NotSharedError, Query, SharedQuery, python_type

RANK = "rank"
_LIMIT = bindparam("page_limit", type_=Integer())
_OFFSET = bindparam("page_offset", type_=Integer())
Names = tuple[str, ...]


@dataclass(frozen=True)
class PageStatement:
    """The statement of a page, and the names of its sort keys in a row.

    `extra_columns` are selected only for the sort. `large` are the selected columns with long
    texts. `absent` are the columns of the list that are not selected.
    """

    query: Query
    sort_keys: Names
    extra_columns: Names
    large: Names
    absent: Names


def is_ranked(sort: Sequence[str]) -> bool:
    return sort[0] == f"-{RANK}"


def newest(spec: ListSpec) -> tuple[ColumnElement[Any], ...]:
    """Return the keys of the default sort."""
    return tuple(expression for expression, _ in _terms(spec, (spec.default_sort,)))


@lru_cache(maxsize=256)
def count_statement(spec: ListSpec, names: Names) -> Query:
    statement = _filtered(spec, names).with_only_columns(
        func.count().label("count"), maintain_column_froms=True
    )
    return Query(statement)


@lru_cache(maxsize=256)
def edges_statement(spec: ListSpec, names: Names) -> Query:
    return Query(ranking.edges(_filtered(spec, names), newest(spec)))


def page_statement(
    spec: ListSpec,
    names: Names,
    sort: Names,
    nulls: tuple[bool, ...] | None,
    columns: frozenset[str] | None,
    *,
    bounded: bool,
) -> PageStatement:
    """Return the statement of a page.

    `names` are the filters and scopes. `nulls` marks the keys of the cursor that are NULL; it is
    None for the first page. `columns` are the columns to select, or None for all. `bounded` limits
    the bytes of the page.
    """
    if columns is None:
        return _whole(spec, names, sort, nulls, bounded=bounded)
    return _narrowed(spec, names, sort, nulls, columns, bounded=bounded)


@lru_cache(maxsize=1024)
def _whole(
    spec: ListSpec, names: Names, sort: Names, nulls: tuple[bool, ...] | None, *, bounded: bool
) -> PageStatement:
    return _compiled(spec, names, sort, nulls, None, bounded=bounded)


# A cache of its own, so that the many possible selections do not displace the usual statements.
@lru_cache(maxsize=256)
def _narrowed(
    spec: ListSpec,
    names: Names,
    sort: Names,
    nulls: tuple[bool, ...] | None,
    columns: frozenset[str],
    *,
    bounded: bool,
) -> PageStatement:
    return _compiled(spec, names, sort, nulls, columns, bounded=bounded)


def _compiled(
    spec: ListSpec,
    names: Names,
    sort: Names,
    nulls: tuple[bool, ...] | None,
    columns: frozenset[str] | None,
    *,
    bounded: bool,
) -> PageStatement:
    statement, absent = _selected(spec, columns)
    terms = _terms(spec, sort)
    keys: list[str] = []
    extra: list[str] = []
    for position, (expression, _) in enumerate(terms):
        selected = statement.selected_columns.corresponding_column(expression)
        name = f"sort_key_{position}" if selected is None else str(selected.key)
        if selected is None:
            extra.append(name)
            statement = statement.add_columns(expression.label(name))
        keys.append(name)
    if nulls is not None:
        nullable = [e is not spec.key and is_nullable(e, statement) for e, _ in terms]
        statement = statement.where(behind(terms, nulls, nullable))
    if is_ranked(sort):
        statement = statement.where(ranking.no_newer(newest(spec)))
    # A search reads all matches in any case, so it need not be repeated for each branch.
    branches = [[spec.condition(name) for name in names]]
    if "q" not in names:
        branches = [list(each) for each in product(*map(spec.conditions, names))]
    order = [(name, down) for name, (_, down) in zip(keys, terms, strict=True)]
    page = _page([statement.where(*branch) for branch in branches], terms, order)
    large = tuple(name for name in spec.large if name not in absent)
    if bounded:
        query = Query(page_bytes.bounded(page, order, large))
    elif any(name == "q" or name in spec.filters for name in names):
        query = Query(page)
    else:
        query = _shared(page, order)
    return PageStatement(query, tuple(keys), tuple(extra), large, absent)


def _shared(page: Select[*tuple[Any, ...]], order: Sequence[tuple[str, bool]]) -> Query:
    """Return a query that callers can share; the plan for several does not depend on their values.

    The values of filters may decide on the best plan.
    """
    try:
        return SharedQuery(page, common=(_LIMIT.key, _OFFSET.key), order=order)
    except NotSharedError:
        # The value of a scope is not a scalar.
        return Query(page)


def _selected(
    spec: ListSpec, columns: frozenset[str] | None
) -> tuple[Select[*tuple[Any, ...]], Names]:
    """Return the list's statement with these columns only, and the names of the others."""
    if columns is None:
        return spec.statement, ()
    kept = [each for each in spec.statement.selected_columns if each.key in columns]
    absent = [each for each in spec.statement.selected_columns if each.key not in columns]
    narrowed = spec.statement.with_only_columns(*kept, maintain_column_froms=True)
    return narrowed, tuple(str(each.key) for each in absent)


def _page(
    branches: Sequence[Select[*tuple[Any, ...]]],
    terms: Sequence[Term],
    order: Sequence[tuple[str, bool]],
) -> Select[*tuple[Any, ...]]:
    """Return the statement of the first rows of all branches, which have no row in common."""
    sorting = [e.desc() if down else e.asc() for e, down in terms]
    if len(branches) == 1:
        return branches[0].order_by(*sorting).limit(_LIMIT).offset(_OFFSET)
    firsts = [branch.order_by(*sorting).limit(_LIMIT + _OFFSET) for branch in branches]
    merged = union_all(*firsts).subquery("merged")
    keys = [merged.c[name].desc() if down else merged.c[name].asc() for name, down in order]
    return select(merged).order_by(*keys).limit(_LIMIT).offset(_OFFSET)


def _filtered(spec: ListSpec, names: Names) -> Select[*tuple[Any, ...]]:
    return spec.statement.where(*(spec.condition(name) for name in names))


def _terms(spec: ListSpec, sort: Sequence[str]) -> list[Term]:
    terms = [_term(spec, part) for part in sort]
    # The key has the direction of the last field, so that one index can serve both.
    return [*terms, (cast("ColumnElement[Any]", spec.key), terms[-1][1])]


@lru_cache(maxsize=1024)
def key_types(spec: ListSpec, sort: Names) -> tuple[type, ...]:
    """Return the types of the values of a cursor."""
    keys = [expression for expression, _ in _terms(spec, sort)]
    if is_ranked(sort):
        keys += 2 * newest(spec)
    return tuple(python_type(key.type) for key in keys)


def _term(spec: ListSpec, part: str) -> Term:
    name = part.removeprefix("-")
    if name == RANK and spec.search and spec.search.rank:
        return ranking.bounded_rank(spec.search.rank(bindparam("q")), newest(spec)), True
    return cast("ColumnElement[Any]", spec.sorts[name]), part.startswith("-")
