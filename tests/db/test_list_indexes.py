"""Every sort and filter of every list is served by an index, as the plans of PostgreSQL show.

The statements are those that the services send for each caller who may read the list: for rows of
one's own, visible rows and all rows. They run on tables with thousands of rows, of which only a few
match. A page that reads a number of rows that does not depend on the size of the table has neither
scanned nor sorted it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, get_args, get_origin
from uuid import UUID

import psycopg
import pytest
from psycopg.sql import SQL, Composed
from sqlalchemy import Column, Table, UniqueConstraint

from backend.core.http.pagination import ListParameters
from backend.core.lists import ResourceList
from backend.core.registry import prefix_of, routes_of
from backend.db.base import Base
from backend.db.keyed_reads import MAX_KEYS
from backend.db.queries import SharedQuery
from backend.db.query_runner import QueryRunner
from tests.actors import Actor, Client
from tests.applications import MODULES

ROWS = 3000
LIMIT = 5
# Rows that a page of `LIMIT` rows may read from all its tables; a twentieth of a table is more.
MOST = 60
# Of a statement that several callers share.
CALLERS = 3
# Values of filters that are not columns of the list.
VALUES: dict[str, list[Any]] = {"role": ["member", "admin"], "is_active": ["true", "false"]}
# Tables that no model declares.
FILLED_BY_HAND = {
    "procrastinate_jobs": "INSERT INTO procrastinate_jobs (queue_name, task_name) "
    "SELECT 'default', 'mail.send' FROM generate_series(1, 3000)",
}
OTHER_TABLES = [
    "INSERT INTO user_roles SELECT id, 'member' FROM users ON CONFLICT DO NOTHING",
]


def lists() -> Iterator[tuple[str, ResourceList[Any]]]:
    """Yield the path and the declaration of every list of every module."""
    for module in MODULES:
        for context in routes_of(module):
            route: Any = context.original_route
            for dependency in getattr(getattr(route, "dependant", None), "dependencies", ()):
                if isinstance(dependency.call, ListParameters):
                    spec = dependency.call.spec
                    assert isinstance(spec, ResourceList)
                    yield f"{prefix_of(module)}{context.path_format}", spec


LISTS = dict(lists())


# Rows


def literals(spec: ResourceList[Any], name: str) -> list[str]:
    """Return the values of a column with a closed set of them, by the list's schema."""
    described = spec.schema.model_fields.get(name)
    kind = described.annotation if described else None
    # `Status | None` has the arguments `Status` and `None`.
    kinds = [kind, *get_args(kind)]
    return next((list(get_args(each)) for each in kinds if get_origin(each) is Literal), [])


def value_of(column: "Column[Any]", spec: ResourceList[Any], number: int) -> str:
    """Return an SQL expression for the column of row `i`."""
    if options := literals(spec, column.name):
        rare = " ".join(f"WHEN {at} THEN '{each}'" for at, each in enumerate(options[1:]))
        return f"CASE i / 20 % 20 {rare} ELSE '{options[0]}' END"
    if column.foreign_keys:
        (key,) = column.foreign_keys
        # The second account owns a twentieth, the first one all else.
        found = f"SELECT {key.column.name} FROM {key.column.table.name}"  # noqa: S608  # our names
        return f"({found} ORDER BY 1 OFFSET (i % 20 = 0)::int LIMIT 1)"
    constraints = (c for c in column.table.constraints if isinstance(c, UniqueConstraint))
    unique = any(column.name in each.columns for each in constraints) or any(
        each.unique and column.name in each.columns for each in column.table.indexes
    )
    length = getattr(column.type, "length", None) or 10
    return {
        UUID: "gen_random_uuid()",
        bool: f"(i + {number}) % 20 <> 0",
        # Every sort has an order of its own.
        datetime: f"now() - (i * {7919 + number} % {ROWS}) * interval '1 minute'",
        date: f"current_date - (i * {7919 + number} % {ROWS})",
        Decimal: "i / 100.0" if unique else f"(i * {7919 + number} % {ROWS}) / 100.0",
        int: "i" if unique else f"i % {50 + number}",
        list: "'{}'",
        object: "'{}'",
        bytes: "''",
        str: "'x' || i" if unique else f"left(i % {50 + number} || 'x', {length})",
    }[getattr(column.type, "impl_instance", column.type).python_type]


def fill(connection: psycopg.Connection, table: Table, spec: ResourceList[Any]) -> None:
    columns = [column for column in table.columns if column.computed is None]
    names = ", ".join(column.name for column in columns)
    values = ", ".join(value_of(column, spec, n) for n, column in enumerate(columns))
    rows = f"SELECT {values} FROM generate_series(1, {ROWS}) i"  # noqa: S608  # our names
    connection.execute(f"INSERT INTO {table.name} ({names}) {rows}".encode())


@pytest.fixture
def filled(database_url: str, admin: Actor, ada: Actor) -> Iterator[psycopg.Connection]:
    """The tables of all lists that are not small, with rows and statistics."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        tables = {
            str(getattr(source, "name", "")): spec
            for spec in LISTS.values()
            if not spec.small
            for source in spec.statement.get_final_froms()
        }
        # Accounts last: the rows of others belong to the first two.
        for name in sorted(tables, key=lambda name: name == "users"):
            if name in FILLED_BY_HAND:
                connection.execute(FILLED_BY_HAND[name].encode())
            else:
                fill(connection, Base.metadata.tables[name], tables[name])
        for statement in OTHER_TABLES:
            connection.execute(statement.encode())
        connection.execute("ANALYZE")
        yield connection


# Statements


@dataclass(frozen=True)
class Sent:
    """A statement of pages, and whether its plan is made for its values."""

    sql: str
    values: dict[str, Any]
    custom: bool
    callers: int = 1


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    recorded: list[Sent] = []
    custom = False
    execute = psycopg.AsyncCursor.execute

    async def recording(self: Any, query: Any, values: Any = None, **options: Any) -> Any:
        nonlocal custom
        if isinstance(query, bytes):
            custom = b"force_custom_plan" in query
        elif values and "page_limit" in values:
            recorded.append(Sent(query, values, custom))
            custom = False
        return await execute(self, query, values, **options)

    shared = QueryRunner.shared

    async def recording_shared(
        self: QueryRunner, query: SharedQuery, values: Mapping[str, Any], most: int = MAX_KEYS
    ) -> Any:
        if query.own:
            together = {**values, **{name: [values[name]] * CALLERS for name in query.own}}
            recorded.append(
                Sent(query.together.sql, query.parameters(together), custom=False, callers=CALLERS)
            )
        return await shared(self, query, values, most)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", recording)
    monkeypatch.setattr(QueryRunner, "shared", recording_shared)
    return recorded


def queries(spec: ResourceList[Any], row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every sort alone, in both directions, and every filter with the default sort."""
    for name in spec.sorts:
        if name not in spec.unindexed:
            yield from ({"sort": name}, {"sort": f"-{name}"})
    for name, option in spec.filters.items():
        if option.span:
            yield {name: "2020-01-01T00:00:00Z"}
        elif name in VALUES:
            yield from ({name: value} for value in VALUES[name])
        elif name not in spec.unindexed:
            assert name in row, f"Add example values of the filter {name} to VALUES."
            known = literals(spec, name) or [row[name]]
            yield from ({name: value} for value in known)


# Plans


def explain(connection: psycopg.Connection, statement: Sent) -> dict[str, Any]:
    """Return the plan of a statement that has run often, as on a connection of the server."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement.sql)))
    prepared = re.sub(r"%\((\w+)\)s", lambda m: f"${names.index(m[1]) + 1}", statement.sql)
    values = SQL(", ").join(statement.values[name] for name in names)
    call: Composed = SQL("EXECUTE page ({})").format(values)
    with connection.transaction(force_rollback=True):
        if statement.custom:
            connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        connection.execute(f"PREPARE page AS {prepared.replace('%%', '%')}".encode())
        for _ in range(6):
            connection.execute(call)
        explained = SQL("EXPLAIN (ANALYZE, FORMAT JSON) {}").format(call)
        ((plans,),) = connection.execute(explained).fetchall()
        connection.execute("DEALLOCATE page")
    plan: dict[str, Any] = plans[0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def rows_read(node: dict[str, Any]) -> float:
    """Return how many rows of a table or an index a node has read."""
    if "Relation Name" not in node and node["Node Type"] != "Bitmap Index Scan":
        return 0
    removed = "Rows Removed by Filter", "Rows Removed by Index Recheck"
    rows = node["Actual Rows"] + sum(node.get(name, 0) for name in removed)
    return float(rows * node["Actual Loops"])


@pytest.mark.slow
async def test_every_sort_and_filter_reads_an_index(
    filled: psycopg.Connection, client: Client, ada: Actor, admin: Actor, sent: list[Sent]
) -> None:
    failures: list[str] = []
    shared = 0
    for path, spec in LISTS.items():
        if spec.small:
            continue
        callers: dict[str, Any] = {"anonymous": client, "member": ada, "administrator": admin}
        admitted = 0
        for caller, actor in callers.items():
            first = await actor.get(path)
            if first.status_code in (401, 403):
                continue
            admitted += 1
            assert first.json()["data"], f"{path} has no rows for the {caller}"
            for query in queries(spec, first.json()["data"][0]):
                case = f"{path} {query} of the {caller}"
                sent.clear()
                page = await actor.get(path, params={**query, "limit": LIMIT})
                assert page.status_code in (200, 403), (case, page.text)
                if next_page := page.links.get("next"):
                    await actor.get(next_page["url"])
                shared += sum(statement.callers > 1 for statement in sent)
                failures += [
                    f"{case}, page {number}: {problem}"
                    for number, statement in enumerate(sent, start=1)
                    for problem in problems(explain(filled, statement), statement.callers)
                ]
        assert admitted, path
    assert not failures, "\n".join(failures)
    assert shared


def problems(plan: dict[str, Any], callers: int) -> Iterator[str]:
    scans = [f"{n['Node Type']} of {n.get('Relation Name')}" for n in nodes(plan) if rows_read(n)]
    read = sum(map(rows_read, nodes(plan)))
    if read > MOST * callers:
        yield f"reads {read:.0f} rows by {scans}"
    if any(scan.startswith("Seq Scan") for scan in scans):
        yield f"reads {scans}"


def test_what_has_no_index_is_declared_with_the_reason() -> None:
    for spec in LISTS.values():
        assert spec.unindexed.keys() <= spec.sorts.keys() | spec.filters.keys()
        for reason in (*spec.unindexed.values(), *([spec.small] if spec.small else [])):
            assert len(reason.split()) > 4
