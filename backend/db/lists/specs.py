"""Declarations of lists, and requests for their pages."""

import re
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    SQLColumnExpression,
    bindparam,
    or_,
)

Condition = Callable[[BindParameter[Any]], ColumnElement[bool]]
Scope = Condition | tuple[Condition, ...]
Column = SQLColumnExpression[Any]
# A search uses at most so many words and characters. A word is a run of letters and digits of any
# script; an `or` between words does not count.
MAX_WORDS = 32
MAX_CHARACTERS = 2000
_GAP = r"[\0-/:-@\[-`{-\x7f\s]"
_WORD = r"[^\0-/:-@\[-`{-\x7f\s]"
_FIRST_WORDS = re.compile(
    rf"(?:{_GAP}*+(?:or{_GAP}++)*+{_WORD}++){{{MAX_WORDS}}}{_GAP}*+", re.IGNORECASE
)
# The largest offset of a cheap read: skipping so many rows of an index takes as long as a page.
SHALLOW = 1000


@dataclass(frozen=True)
class Filter:
    """A query parameter: its type for the client, and its SQL condition.

    `span` marks a range filter on the column of the default order. The same index answers it, so
    it does not make a read expensive.
    """

    type: Any
    condition: Condition
    description: str = ""
    span: bool = False


@dataclass(frozen=True)
class Search:
    """The condition of the parameter `q`, and optionally a rank.

    With `rank`, a float of at least 0, the best results come first. Then the list's default order
    must be descending and never NULL. `prepare` converts the text of `q` to the value that the
    condition and the rank use.
    """

    condition: Condition
    rank: Callable[[BindParameter[Any]], ColumnElement[float]] | None = None
    prepare: Callable[[str], Any] = str
    description: str = "Search."


def equals(column: Column) -> Condition:
    """Return the condition that the column has the value of the filter or scope."""
    return lambda value: column == value


def first_words(text: str) -> str:
    """Return the part of a search that is used: `MAX_WORDS` words of its `MAX_CHARACTERS`."""
    text = text[:MAX_CHARACTERS]
    match = _FIRST_WORDS.match(text)
    return text if match is None else match[0].rstrip()


def containing(part: str) -> str:
    """Return a LIKE pattern for texts that contain `part`, with `%` and `_` escaped."""
    escaped = part.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"


def search_parts(*columns: Column) -> Search:
    """Return the search for texts that contain `q` in one of the columns, in either case."""
    names = " or ".join(str(getattr(column, "key", column)) for column in columns)
    return Search(
        lambda pattern: or_(*(column.ilike(pattern) for column in columns)),
        prepare=containing,
        description=f"Part of the {names}, without regard to case.",
    )


@dataclass(frozen=True, eq=False)
class ListSpec:
    """A list that clients can filter, sort, search and page through.

    `statement` selects the columns of a row. `key` is unique, never NULL, and breaks ties. NULL
    sorts as if larger than every value: last in ascending order and first in descending order, as
    in a plain index. `scopes` are conditions that only the service sets, such as who may see a row.
    A scope of several conditions, of which each row meets at most one, selects the rows of all of
    them: an index for each condition replaces the one that their disjunction cannot use. `large`
    maps columns with long texts to their maximal number of characters; a page ends early if its
    rows have too many bytes. `computed` maps the members of the response that the service adds to
    the columns that it needs for them.

    Every sort alone, and every filter with the default sort, must be served by an index.
    `unindexed` maps the sorts and filters that are not to the reason; reads with them are
    expensive. `small` is the reason why the whole list has so few rows that no index is needed.
    """

    name: str
    statement: Select[*tuple[Any, ...]]
    key: Column
    sorts: Mapping[str, Column]
    default_sort: str = "-created_at"
    filters: Mapping[str, Filter] = field(default_factory=dict)
    scopes: Mapping[str, Scope] = field(default_factory=dict)
    search: Search | None = None
    large: Mapping[str, int] = field(default_factory=dict)
    computed: Mapping[str, Collection[str]] = field(default_factory=dict)
    unindexed: Mapping[str, str] = field(default_factory=dict)
    small: str = ""

    def conditions(self, name: str) -> list[ColumnElement[bool]]:
        """Return the conditions of a filter, a scope or `q`; a row meets at most one of them."""
        if name == "q" and self.search:
            return [self.search.condition(bindparam("q"))]
        made = self.filters[name].condition if name in self.filters else self.scopes[name]
        several = made if isinstance(made, tuple) else (made,)
        return [each(bindparam(name)) for each in several]

    def condition(self, name: str) -> ColumnElement[bool]:
        return or_(*self.conditions(name))

    def columns_of(self, members: Collection[str]) -> frozenset[str] | None:
        """Return the columns of these members of the response; None if they are all columns."""
        needed = set(members).union(*(self.computed.get(name, ()) for name in members))
        columns = frozenset(map(str, self.statement.selected_columns.keys()))
        return None if columns <= needed else columns & needed

    def is_expensive(self, query: "ListQuery") -> bool:
        """Return whether the read may take long.

        A page is cheap if an index returns its rows in order: with a small offset or a cursor, and
        either one sort and no filter, or the default sort in either direction and at most one
        filter beside spans.
        """
        if query.q is not None or query.total or query.offset > SHALLOW:
            return True
        if self.small or not (query.sort or query.filters):
            return False
        sort = (query.sort or (self.default_sort,))[0].removeprefix("-")
        if len(query.sort) > 1 or sort in self.unindexed:
            return True
        filters = [name for name in query.filters if not self.filters[name].span]
        if len(filters) > 1 or any(name in self.unindexed for name in filters):
            return True
        return sort != self.default_sort.removeprefix("-") and bool(query.filters)


@dataclass(frozen=True)
class ListQuery:
    """A request for a page. `sort` names fields; a leading `-` means descending.

    `fields` are the members of the response, or None for all. Columns that no other member needs
    are not selected and are None in the rows. `caller` is the key by which expensive reads are
    limited. `acquire_place` is awaited before a page that may be large is read, to limit memory.
    """

    cursor_key: bytes
    limit: int = 20
    cursor: str | None = None
    offset: int = 0
    sort: tuple[str, ...] = ()
    total: bool = False
    q: str | None = None
    filters: Mapping[str, Any] = field(default_factory=dict)
    fields: Collection[str] | None = None
    caller: Hashable = None
    acquire_place: Callable[[], Awaitable[object]] | None = None

    def includes(self, member: str) -> bool:
        """Return whether the response has this member."""
        return self.fields is None or member in self.fields
