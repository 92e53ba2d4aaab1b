"""Requests of a caller who owns half of 1,000 to 1,000,000 items."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from statistics import median
from typing import Any
from uuid import UUID

import psycopg

from backend.db.base import uuid7
from bench import data
from bench.endpoints import ENDPOINTS, LIST_LIMIT, Endpoint
from bench.growth.findings import Curve, Goal, Panel, Part
from bench.growth.site import Site, errors_of, total_us
from bench.load import Job
from bench.measure import Series, Variant, measure
from bench.servers import ROOT, BenchError, call

CONNECTIONS = 8
FLAT = 1.2
FIRST, LAST = "first page", "last page"
_BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
COPY = "COPY items (id, title, description, owner_id, created_at, updated_at) FROM STDIN"
HEADS = [
    *("request", "items", "requests/s", "p50 ms", "p99 ms", "processor time, µs"),
    *("times the requests/s", "times the time"),
]
# Written at once, with a line of progress after each.
PORTION = 100_000
# Two pages of the caller's own.
OLDEST = 4 * LIST_LIMIT


@dataclass(frozen=True)
class Database:
    """One number of items, with the server that serves them and its measurements."""

    items: int
    url: str
    variant: Variant
    requests: dict[str, Endpoint]
    series: dict[str, Series]


def measure_items(site: Site, sizes: Sequence[int]) -> Part:
    with ExitStack() as stack:
        databases = [_start(site, stack, size) for size in sizes]
        load = stack.enter_context(site.generator())
        for number in range(site.rounds):
            for database in databases[:: -1 if number % 2 else 1]:
                site.say(f"Round {number + 1} of {site.rounds}: {database.items:,} items ...")
                server = database.variant.server
                for name, endpoint in database.requests.items():
                    request = endpoint.request(server.port, site.tokens[0])
                    job = Job(server.port, [request], CONNECTIONS, site.seconds)
                    measure(
                        database.variant, load, job, database.series[name], site.postgres.process
                    )
                data.reset_tables(database.url)
    return _part(databases)


def _start(site: Site, stack: ExitStack, size: int) -> Database:
    url = site.copy_of_base(f"items{size}")
    launcher = stack.enter_context(site.launcher(url))
    server = launcher.application(f"items{size}", ROOT)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE items")
        rows = _rows(connection.execute("SELECT id, email FROM users").fetchall(), size)
        # The cursor behind the first page of the oldest items leads to the last page of all.
        written = _copy(connection, rows, OLDEST)
        endpoint = _BY_NAME["list"]
        headers = {"Authorization": f"Bearer {site.tokens[0]}"}
        status, body = call(server.port, "GET", endpoint.path, headers)
        if status != 200:
            raise BenchError(f"The list responded with {status}: {body.decode()}")
        last = f"{endpoint.path}&cursor={json.loads(body)['next_cursor']}"
        started = time.monotonic()
        while portion := _copy(connection, rows, PORTION):
            written += portion
            site.say(f"{written:,} of {size:,} items after {time.monotonic() - started:.0f} s ...")
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    requests = {
        FIRST: endpoint,
        LAST: Endpoint(LAST, "GET", last),
        "me": _BY_NAME["me"],
        "create": _BY_NAME["create"],
    }
    series = {name: Series(name) for name in requests}
    return Database(size, url, Variant(str(size), server), requests, series)


def _rows(users: list[tuple[UUID, str]], size: int) -> Iterator[tuple[Any, ...]]:
    """Yield the items, oldest first; every second belongs to the caller."""
    owner = next(id for id, email in users if email == data.credentials(0)["email"])
    others = cycle([id for id, _ in users if id != owner])
    oldest = datetime.now(UTC) - timedelta(seconds=size + 60)
    for number in range(size):
        created_at = oldest + timedelta(seconds=number)
        user = next(others) if number % 2 else owner
        yield uuid7(), f"Item {number}", "All about it. " * 5, user, created_at, created_at


def _copy(connection: psycopg.Connection, rows: Iterator[tuple[Any, ...]], most: int) -> int:
    """Write at most this many rows; return their number."""
    written = 0
    with connection.cursor().copy(COPY) as copy:
        for row in rows:
            copy.write_row(row)
            written += 1
            if written == most:
                break
    return written


def _part(databases: list[Database]) -> Part:
    smallest, largest = databases[0], databases[-1]
    part = Part(
        "Items",
        f"{CONNECTIONS} connections of a caller who owns half of the items; processor time of "
        "server and PostgreSQL. The last columns compare with the smallest number.",
        [HEADS],
    )
    curves = []
    for name in smallest.requests:
        compared = {each.items: _compared(name, each, smallest) for each in databases}
        for database in databases:
            part.rows.append(_row(name, database, *compared[database.items]))
            part.errors += errors_of(f"{name}, {database.items:,} items", database.series[name])
        rate = min(rate for rate, _ in compared.values())
        cost = max(cost for _, cost in compared.values())
        part.goals.append(
            Goal(
                f"{name}: flat within 20 %, {smallest.items:,} to {largest.items:,} items",
                f"at least {rate:.2f} times the requests/s, at most {cost:.2f} times the "
                "processor time",
                rate >= 1 / FLAT and cost <= FLAT,
            )
        )
        curves.append(Curve(name, [(items, cost) for items, (_, cost) in compared.items()]))
    title = f"Processor time of a request, with {smallest.items:,} items = 1"
    part.panels.append(Panel(title, "items", curves, band=(1 / FLAT, FLAT)))
    return part


def _compared(name: str, database: Database, smallest: Database) -> tuple[float, float]:
    """Return the rate and the processor time as multiples of those with the fewest items."""
    own, base = database.series[name], smallest.series[name]
    return _ratio(_rates(own), _rates(base)), _ratio(total_us(own), total_us(base))


def _row(name: str, database: Database, rate: float, cost: float) -> list[str]:
    series = database.series[name]
    return [
        name,
        f"{database.items:,}",
        f"{median(_rates(series)):.0f}",
        f"{series.median(lambda each: each.p50):.1f}",
        f"{series.median(lambda each: each.p99):.1f}",
        f"{median(total_us(series) or [0]):.0f}",
        f"{rate:.2f}",
        f"{cost:.2f}",
    ]


def _rates(series: Series) -> list[float]:
    return [result.per_second for result in series.results]


def _ratio(values: list[float], base: list[float]) -> float:
    """Return the median of the ratios of each round; 1 where nothing was measured."""
    pairs = [own / other for own, other in zip(values, base, strict=False) if other]
    return median(pairs) if pairs else 1.0
