"""Keyset conditions: the rows that follow a given row in a sorted list."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    Cast,
    Column,
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

Term = tuple[ColumnElement[Any], bool]  # a sort expression, and whether it is descending
# Functions that return NULL only if an argument is NULL.
_STRICT = ("char_length", "length", "lower", "upper")


def bind_name(position: int) -> str:
    return f"after_{position}"


def behind(
    terms: Sequence[Term], nulls: Sequence[bool], nullable: Sequence[bool]
) -> ColumnElement[bool]:
    """Return the condition for rows after the row whose keys are bound to `bind_name(0)` etc.

    nulls     which of these keys are NULL; they are not bound
    nullable  which of the terms can be NULL
    """
    binds = [
        bindparam(bind_name(position), type_=expression.type)
        for position, (expression, _) in enumerate(terms)
    ]
    expressions = [expression for expression, _ in terms]
    directions = {down for _, down in terms}
    # A row comparison is not true if an expression is NULL. In descending order that is correct,
    # because NULL comes first.
    if not any(nulls) and (directions == {True} or (directions == {False} and not any(nullable))):
        # An index on the same columns supports one row comparison directly.
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
    """Return the condition that one key sorts after the cursor's; NULL is the largest value."""
    expression, down = term
    if null:
        return expression.is_not(None) if down else false()
    if down:
        return expression < bound
    return or_(expression > bound, expression.is_(None)) if nullable else expression > bound


def is_nullable(expression: ColumnElement[Any], statement: Select[*tuple[Any, ...]]) -> bool:
    """Return False if the expression cannot be NULL, and True if it can or if that is unknown.

    NOT NULL columns and a few functions of them are recognised.
    """
    outer = {table for source in statement.get_final_froms() for table in _outer_tables(source)}

    def may_be_null(part: Any) -> bool:
        match part:
            case Column():
                return part.nullable or part.table in outer
            case BindParameter():
                return part.value is None
            case Cast() | TypeCoerce():
                return may_be_null(part.clause)
            case Grouping() | Label():
                return may_be_null(part.element)
            case FunctionElement() if part.name == "coalesce":
                return all(may_be_null(argument) for argument in part.clauses)
            case FunctionElement() if part.name in _STRICT:
                return any(may_be_null(argument) for argument in part.clauses)
        return True

    return may_be_null(expression.expression)  # the column of a model's attribute


def _outer_tables(source: FromClause) -> Iterator[FromClause]:
    """Yield the optional tables of outer joins, whose columns are NULL if no row matches."""
    if isinstance(source, Join):
        if source.isouter or source.full:
            yield from _tables(source.right)
        if source.full:
            yield from _tables(source.left)
        yield from _outer_tables(source.left)
        yield from _outer_tables(source.right)


def _tables(source: FromClause) -> Iterator[FromClause]:
    if isinstance(source, Join):
        yield from _tables(source.left)
        yield from _tables(source.right)
    else:
        yield source
