"""One to four worker processes of one server, which may use all cores."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median

from bench.cores import unpinned
from bench.endpoints import ENDPOINTS
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


def measure_workers(site: Site, counts: Sequence[int]) -> Part:
    chosen = [endpoint for endpoint in ENDPOINTS if endpoint.name in NAMES]
    found = {endpoint.name: {count: Series(str(count)) for count in counts} for endpoint in chosen}
    url = site.copy_of_base("workers")
    with ExitStack() as stack:
        stack.enter_context(unpinned())
        launcher = stack.enter_context(site.launcher(url, DATABASE_POOL_SIZE=POOL_SIZE))
        servers = {
            count: launcher.application(f"{count} workers", ROOT, processes=count)
            for count in counts
        }
        load = stack.enter_context(site.generator(pinned=False))
        for number in range(site.rounds):
            for endpoint in chosen:
                for count in list(counts)[:: -1 if number % 2 else 1]:
                    site.say(
                        f"Round {number + 1} of {site.rounds}: {endpoint.name}, {count} workers ..."
                    )
                    server = servers[count]
                    requests = [endpoint.request(server.port, token) for token in site.tokens]
                    job = Job(server.port, requests, CONNECTIONS, site.seconds)
                    series = found[endpoint.name][count]
                    measure(Variant(str(count), server), load, job, series, site.postgres.process)
    return _part(found)


def _part(found: dict[str, dict[int, Series]]) -> Part:
    part = Part(
        "Workers",
        f"{CONNECTIONS} connections of {CALLERS} callers. Workers, PostgreSQL and the load "
        f"generator share {os.cpu_count()} cores, so the rate cannot grow with the workers beyond "
        "these; processor time of the workers and PostgreSQL.",
        [["request", "workers", "requests/s", "p99 ms", "processor time, µs", "times that of 1"]],
    )
    curves = []
    for name, measured in found.items():
        base, *_ = costs = {
            count: median(total_us(series) or [0]) for count, series in measured.items()
        }
        times = {count: cost / (costs[base] or 1) for count, cost in costs.items()}
        for count, series in measured.items():
            part.rows.append(
                [
                    name,
                    str(count),
                    f"{series.median(lambda each: each.per_second):.0f}",
                    f"{series.median(lambda each: each.p99):.1f}",
                    f"{costs[count]:.0f}",
                    f"{times[count]:.2f}",
                ]
            )
            part.errors += errors_of(f"{name}, {count} workers", series)
        worst = max(times, key=lambda count: times[count])
        part.goals.append(
            Goal(
                f"{name}: processor time of a request stays within 20 %",
                f"{times[worst]:.2f} times with {worst} workers",
                times[worst] <= FLAT,
            )
        )
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
