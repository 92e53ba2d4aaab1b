"""One to four worker processes of one server, which may use all cores."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from bench.cores import unpinned
from bench.endpoints import ENDPOINTS, Endpoint
from bench.growth.findings import Curve, Goal, Panel, Part
from bench.growth.site import CALLERS, Site, errors_of, total_us
from bench.load import Job
from bench.measure import Series, Variant, measure
from bench.servers import ROOT

NAMES = ("me", "create")
CONNECTIONS = 64
FLAT = 1.2
# All servers together stay below the connections of PostgreSQL.
POOL_SIZE = "10"
HEADS = [
    *("request", "workers", "requests/s", "p99 ms", "processor time, µs", "times that of 1"),
    "times, 1 worker with its share of the connections",
]


@dataclass(frozen=True)
class Measured:
    """The series of one request by number of workers.

    `fewer` has those of the smallest number with as many connections for each worker as the others
    have: workers with fewer concurrent callers share fewer statements.
    """

    all: dict[int, Series]
    fewer: dict[int, Series]


def measure_workers(site: Site, counts: Sequence[int]) -> Part:
    chosen = [endpoint for endpoint in ENDPOINTS if endpoint.name in NAMES]
    found = {endpoint.name: Measured(_series(counts), _series(counts[1:])) for endpoint in chosen}
    url = site.copy_of_base("workers")
    with ExitStack() as stack:
        stack.enter_context(unpinned())
        launcher = stack.enter_context(site.launcher(url, DATABASE_POOL_SIZE=POOL_SIZE))
        servers = {
            count: launcher.application(f"{count} workers", ROOT, processes=count)
            for count in counts
        }
        load = stack.enter_context(site.generator(pinned=False))

        def run(endpoint: Endpoint, workers: int, connections: int, series: Series) -> None:
            server = servers[workers]
            requests = [endpoint.request(server.port, token) for token in site.tokens]
            job = Job(server.port, requests, connections, site.seconds)
            measure(Variant(str(workers), server), load, job, series, site.postgres.process)

        for number in range(site.rounds):
            for endpoint in chosen:
                measured = found[endpoint.name]
                for count in list(counts)[:: -1 if number % 2 else 1]:
                    site.say(
                        f"Round {number + 1} of {site.rounds}: {endpoint.name}, {count} workers ..."
                    )
                    run(endpoint, count, CONNECTIONS, measured.all[count])
                    if fewer := measured.fewer.get(count):
                        run(endpoint, counts[0], CONNECTIONS * counts[0] // count, fewer)
    return _part(found)


def _series(counts: Sequence[int]) -> dict[int, Series]:
    return {count: Series(str(count)) for count in counts}


def _part(found: dict[str, Measured]) -> Part:
    part = Part(
        "Workers",
        f"{CONNECTIONS} connections of {CALLERS} callers. Workers, PostgreSQL and the load "
        f"generator share {os.cpu_count()} cores, so the rate cannot grow with the workers beyond "
        "these; processor time of the workers and PostgreSQL. The callers of one "
        "worker share statements, so fewer of them cost more each: the last column shows it alone.",
        [HEADS],
    )
    curves = []
    for name, measured in found.items():
        fewest = min(measured.all)
        base = _cost(measured.all[fewest]) or 1
        times = {count: _cost(series) / base for count, series in measured.all.items()}
        fewer = {count: _cost(series) / base for count, series in measured.fewer.items()}
        for count, series in measured.all.items():
            part.rows.append(
                [
                    name,
                    str(count),
                    f"{series.median(lambda each: each.per_second):.0f}",
                    f"{series.median(lambda each: each.p99):.1f}",
                    f"{_cost(series):.0f}",
                    f"{times[count]:.2f}",
                    f"{fewer.get(count, 1):.2f}",
                ]
            )
            part.errors += errors_of(f"{name}, {count} workers", series)
        for count, series in measured.fewer.items():
            part.errors += errors_of(f"{name}, the share of one of {count} workers", series)
        part.goals.append(goal(name, times, fewer))
        curves.append(Curve(name, list(times.items())))
    part.panels.append(
        Panel(
            "Processor time of a request, with one worker = 1",
            "workers",
            curves,
            log_x=False,
            band=(1 / FLAT, FLAT),
        )
    )
    return part


def goal(name: str, times: dict[int, float], fewer: dict[int, float]) -> Goal:
    """Judge the processor time by number of workers, as multiples of that with the fewest.

    `fewer` has the multiples of the fewest workers with the share of the connections.
    """
    worst = max(times, key=lambda count: times[count])
    measured = f"{times[worst]:.2f} times with {worst} workers"
    if worst in fewer:
        share = CONNECTIONS * min(times) // worst
        measured += f"; {fewer[worst]:.2f} times with {min(times)} and {share} connections"
    return Goal(
        f"{name}: processor time of a request stays within 20 %", measured, times[worst] <= FLAT
    )


def _cost(series: Series) -> float:
    return median(total_us(series) or [0])
