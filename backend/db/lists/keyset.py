"""Conditions for the rows of a sorted list behind a given row."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    Cast,
    Column,
    ColumnClause,
    ColumnElement,
    FromClause,
    Join,
    Select,
    and_,
    bindparam,
    false,
    or_,
    tuple_,
)
from sqlalchemy.sql.elements import Grouping, Label, TypeCoerce
from sqlalchemy.sql.functions import FunctionElement

Term = tuple[ColumnElement[Any], bool]  # The flag means descending.
# Functions whose result is NULL only if an argument is.
_STRICT = ("char_length", "length", "lower", "upper")


def bind_name(position: int) -> str:
    return f"after_{position}"


def behind(
    terms: Sequence[Term], nulls: Sequence[bool], nullable: Sequence[bool]
) -> ColumnElement[bool]:
    """Return the condition for rows behind the row with the keys `bind_name(0)` and so on.

    `nulls` marks the keys that are NULL, which have no bind parameter. `nullable` marks the terms
    that can be NULL.
    """
    binds = [
        bindparam(bind_name(position), type_=expression.type)
        for position, (expression, _) in enumerate(terms)
    ]
    expressions = [expression for expression, _ in terms]
    directions = {down for _, down in terms}
    # A row comparison that reaches a NULL is not true. In descending order that is correct,
    # because NULLs sort first; in ascending order it would lose rows.
    if not any(nulls) and (directions == {True} or (directions == {False} and not any(nullable))):
        # One row comparison, which a single index scan can evaluate.
        row, bound = tuple_(*expressions), tuple_(*binds)
        return row < bound if terms[0][1] else row > bound
    same = [
        e.is_(None) if null else e == b
        for e, b, null in zip(expressions, binds, nulls, strict=True)
    ]
    return or_(
        *(
            and_(*same[:i], _key_behind(terms[i], binds[i], nulls[i], nullable[i]))
            for i in range(len(terms))
        )
    )


def _key_behind(
    term: Term, bound: BindParameter[Any], null: bool, nullable: bool
) -> ColumnElement[bool]:
    """Return the condition that a key sorts behind that of the cursor; NULL is the largest."""
    expression, down = term
    if null:
        return expression.is_not(None) if down else false()
    if down:
        return expression < bound
    return or_(expression > bound, expression.is_(None)) if nullable else expression > bound


def is_nullable(expression: ColumnElement[Any], statement: Select[*tuple[Any, ...]]) -> bool:
    """Return False only for NOT NULL columns, and for simple expressions of them."""
    absent = {table for source in statement.get_final_froms() for table in _may_be_absent(source)}

    def look(part: Any) -> bool:
        match part:
            case Column():
                return part.nullable or part.table in absent
            case ColumnClause(is_literal=True):
                return part.name.upper() == "NULL"
            case BindParameter():
                return part.value is None
            case Cast() | TypeCoerce():
                return look(part.clause)
            case Grouping() | Label():
                return look(part.element)
            case FunctionElement() if part.name == "coalesce":
                return all(look(argument) for argument in part.clauses)
            case FunctionElement() if part.name in _STRICT:
                return any(look(argument) for argument in part.clauses)
        return True

    return look(expression.expression)  # the column of a model's attribute


def _may_be_absent(source: FromClause) -> Iterator[FromClause]:
    """Yield the tables of outer joins whose columns are NULL for rows without a match."""
    if isinstance(source, Join):
        if source.isouter or source.full:
            yield from _tables(source.right)
        if source.full:
            yield from _tables(source.left)
        yield from _may_be_absent(source.left)
        yield from _may_be_absent(source.right)


def _tables(source: FromClause) -> Iterator[FromClause]:
    if isinstance(source, Join):
        yield from _tables(source.left)
        yield from _tables(source.right)
    else:
        yield source
