"""A table of no module and lists of it, for tests of pages."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    Date,
    DateTime,
    Double,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
    and_,
    case,
    cast,
    func,
    or_,
    select,
)

from backend.db.connections import Timeouts
from backend.db.database import Database
from backend.db.lists.pages import RowPage, fetch_page
from backend.db.lists.specs import Filter, ListQuery, ListSpec, Search, containing
from backend.db.query_runner import QueryRunner
from tests import databases
from tests.examples import examples

KEY = b"a key of thirty-two bytes, no less"
THINGS = Table(
    "made_things",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("weight", Double, nullable=False),
    Column("made_at", DateTime(timezone=True), nullable=False),
    Column("remark", Text),
    Index("ix_made_things_made_at_id", "made_at", "id"),
)
C = THINGS.c
LISTING = ListSpec(
    name="made_things",
    statement=select(C.id, C.name, C.size, C.made_at, C.remark),
    key=C.id,
    sorts={
        "name": C.name,
        "size": C.size,
        "made_at": C.made_at,
        "weight": C.weight,  # not a column of the row
        "lower_name": func.lower(C.name),  # SQLAlchemy does not know its type
        "half": cast(C.size, Numeric) / 2,
        "day": cast(C.made_at, Date),
        "large": C.size > 1,
        "remark": func.coalesce(C.remark, ""),
        "parity": C.size % 2,
        # Sorts that may be NULL.
        "raw_remark": C.remark,
        "loud_remark": func.upper(C.remark, type_=Text()),
        "not_one": func.nullif(C.size, 1, type_=Integer()),
        "due_at": case((C.size > 0, C.made_at)),
    },
    default_sort="-made_at",
    filters={
        "size": Filter(int, lambda size: C.size == size),
        "larger_than": Filter(int, lambda size: C.size > size),
    },
    scopes={
        "only_name": lambda name: C.name == name,
        # Two conditions, each with its own rows.
        "larger_or_remarked": (
            lambda size: C.size > size,
            lambda size: and_(C.size <= size, C.remark.is_not(None)),
        ),
    },
    search=Search(lambda part: or_(C.name.like(part), C.remark.like(part)), prepare=containing),
)
RANKED = replace(
    LISTING,
    name="ranked",
    search=Search(
        C.name.contains,
        # Many rows share a rank.
        rank=lambda words: cast(func.abs(cast(C.size, Numeric) + func.length(words)) % 3, Double),
    ),
)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
# The same sorts in Python. Text sorts by code points, as in the C collation.
ORDER: dict[str, Any] = {
    "name": lambda row: row["name"],
    "size": lambda row: row["size"],
    "made_at": lambda row: row["made_at"],
    "weight": lambda row: row["weight"],
    "lower_name": lambda row: row["name"].lower(),
    "half": lambda row: row["size"],
    "day": lambda row: row["made_at"].date(),
    "large": lambda row: row["size"] > 1,
    "remark": lambda row: row["remark"] or "",
    # The remainder in PostgreSQL has the sign of the dividend.
    "parity": lambda row: row["size"] % 2 if row["size"] > 0 else -(row["size"] % 2),
    # NULL sorts last.
    "raw_remark": lambda row: (row["remark"] is None, row["remark"] or ""),
    "loud_remark": lambda row: (row["remark"] is None, (row["remark"] or "").upper()),
    "not_one": lambda row: (row["size"] == 1, row["size"]),
    "due_at": lambda row: (row["size"] <= 0, row["made_at"] if row["size"] > 0 else EPOCH),
}


@dataclass(frozen=True)
class Shelf:
    """A table of things that can be filled and listed."""

    reader: QueryRunner
    connection: psycopg.Connection

    def fill(self, rows: Sequence[dict[str, Any]]) -> None:
        self.connection.execute("TRUNCATE made_things")
        self.insert(rows)

    def insert(self, rows: Sequence[dict[str, Any]]) -> None:
        with self.connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO made_things VALUES (%(id)s, %(name)s, %(size)s, %(weight)s, "
                "%(made_at)s, %(remark)s)",
                rows,
            )

    async def page(self, listing: ListSpec = LISTING, **query: Any) -> RowPage:
        scopes = query.pop("scopes", {})
        return await fetch_page(self.reader, listing, ListQuery(cursor_key=KEY, **query), **scopes)

    async def walk(self, listing: ListSpec = LISTING, **query: Any) -> list[dict[str, Any]]:
        """Return every row, read page by page."""
        rows: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = await self.page(listing, cursor=cursor, **query)
            assert len(page.rows) <= query.get("limit", 20)
            rows += page.rows
            cursor = page.next_cursor
            if cursor is None:
                return rows
            assert len(page.rows) == query.get("limit", 20)


@pytest.fixture(scope="module")
def shelf_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with databases.cloned_database(databases.server_url(request.config)) as url:
        with psycopg.connect(url) as connection:
            connection.execute(
                "CREATE TABLE made_things (id uuid PRIMARY KEY, name text NOT NULL, "
                "size integer NOT NULL, weight double precision NOT NULL, "
                "made_at timestamptz NOT NULL, remark text)"
            )
            connection.execute(
                "CREATE INDEX ix_made_things_made_at_id ON made_things (made_at, id)"
            )
        yield url


@pytest.fixture(scope="module")
async def shelf(shelf_url: str) -> AsyncIterator[Shelf]:
    database = Database(shelf_url, size=2, timeouts=Timeouts())
    with psycopg.connect(shelf_url, autocommit=True) as connection:
        yield Shelf(database.replica, connection)
    await database.close()


def thing(number: int = 0, **values: Any) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "name": f"thing {number}",
        "size": number,
        "weight": number / 7,
        "made_at": EPOCH + timedelta(hours=number),
        "remark": None,
        **values,
    }


def in_order(rows: Sequence[dict[str, Any]], sort: Sequence[str]) -> list[UUID]:
    """Return the ids in the expected order; a stable sort starts with the least significant key."""
    found = sorted(rows, key=lambda row: row["id"].bytes, reverse=sort[-1].startswith("-"))
    for part in reversed(sort):
        found.sort(key=ORDER[part.removeprefix("-")], reverse=part.startswith("-"))
    return [row["id"] for row in found]


def ids(rows: Sequence[dict[str, Any]]) -> list[UUID]:
    return [row["id"] for row in rows]


SORTS = st.lists(st.sampled_from(sorted(ORDER)), min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.tuples(*(st.sampled_from([name, f"-{name}"]) for name in names))
)
# Few values, so that ties are frequent. Excludes characters that PostgreSQL's text cannot store,
# and letters whose lower case is longer.
NAMES = st.text(st.sampled_from("aAbB zZ0é%_\\\"'\U0001f600"), max_size=3)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.uuids(),
            "name": NAMES,
            "size": st.integers(-3, 3) | st.sampled_from([2**31 - 1, -(2**31)]),
            "weight": st.sampled_from([0.1, 0.1 + 0.2, 0.3, -1e300, 5e-324, float("inf")]),
            "made_at": st.sampled_from(
                [EPOCH, EPOCH + timedelta(microseconds=1), datetime(1, 1, 2, tzinfo=UTC)]
            ),
            "remark": st.none() | NAMES,
        }
    ),
    max_size=25,
    unique_by=lambda row: row["id"],
)


BOUNDED = settings(
    max_examples=examples(75),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
