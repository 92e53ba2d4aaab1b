"""1 to 512 connections to one process."""

from collections.abc import Iterable, Sequence
from statistics import median

from bench.endpoints import ENDPOINTS
from bench.growth.findings import Curve, Goal, Panel, Part
from bench.growth.site import CALLERS, Site, errors_of, items_of, total_us
from bench.load import Job
from bench.measure import Series, Variant, measure
from bench.servers import ROOT

NAMES = ("me", "list")
ITEM = "item"
HEADS = [
    *("request", "connections", "requests/s", "p50 ms", "p99 ms", "p99 / mean time"),
    "processor time, µs",
]
KEPT = 0.9
# p99 at most this many times the mean time of a request, connections / rate.
LINEAR = 2.0

Measured = dict[int, Series]


def measure_connections(site: Site, counts: Sequence[int]) -> Part:
    chosen = [endpoint for endpoint in ENDPOINTS if endpoint.name in NAMES]
    found: dict[str, Measured] = {
        name: {count: Series(str(count)) for count in counts} for name in (*NAMES, ITEM)
    }
    url = site.copy_of_base("connections")
    with site.launcher(url) as launcher, site.generator() as load:
        server = launcher.application("connections", ROOT)
        variant = Variant("application", server)
        requests = {
            endpoint.name: [endpoint.request(server.port, token) for token in site.tokens]
            for endpoint in chosen
        }
        # Each of another item.
        requests[ITEM] = in_turn(
            [item.request(server.port, token) for item in items_of(server, token)]
            for token in site.tokens
        )
        for number in range(site.rounds):
            for name, measured in found.items():
                for count in counts[:: -1 if number % 2 else 1]:
                    site.say(
                        f"Round {number + 1} of {site.rounds}: {name}, {count} connections ..."
                    )
                    job = Job(server.port, requests[name], count, site.seconds)
                    measure(variant, load, job, measured[count], site.postgres.process)
    return _part(found)


def in_turn(callers: Iterable[list[str]]) -> list[str]:
    """Return the requests of the callers in turn, because connection n repeats request n."""
    return [request for each in zip(*callers, strict=True) for request in each]


def _part(found: dict[str, Measured]) -> Part:
    part = Part(
        "Connections",
        f"One process; the connections belong to {CALLERS} callers, and read different items. "
        "Processor time of server and PostgreSQL.",
        [HEADS],
    )
    for name, measured in found.items():
        for count, series in measured.items():
            part.rows.append(
                [
                    name,
                    str(count),
                    f"{_rate(series):.0f}",
                    f"{series.median(lambda each: each.p50):.1f}",
                    f"{_p99(series):.1f}",
                    f"{_times_mean(count, series):.1f}",
                    f"{median(total_us(series) or [0]):.0f}",
                ]
            )
            part.errors += errors_of(f"{name}, {count} connections", series)
        part.goals += goals(name, measured)
    part.panels += [
        Panel(
            "Requests per second",
            "connections",
            [
                Curve(name, [(count, _rate(series)) for count, series in measured.items()])
                for name, measured in found.items()
            ],
        ),
        Panel(
            "p99 in ms; dashed: connections / rate, the mean time",
            "connections",
            [
                *(
                    Curve(name, [(count, _p99(series)) for count, series in measured.items()])
                    for name, measured in found.items()
                ),
                *(
                    Curve(
                        f"{name}, mean",
                        [(count, _mean_ms(count, series)) for count, series in measured.items()],
                        dashed=True,
                    )
                    for name, measured in found.items()
                ),
            ],
            log_y=True,
        ),
    ]
    return part


def goals(name: str, measured: Measured) -> list[Goal]:
    peak = max(measured, key=lambda count: _rate(measured[count]))
    beyond = [count for count in measured if count >= peak]
    lowest = min(beyond, key=lambda count: _rate(measured[count]))
    kept = _rate(measured[lowest]) / (_rate(measured[peak]) or 1)
    worst = max(beyond, key=lambda count: _times_mean(count, measured[count]))
    times = _times_mean(worst, measured[worst])
    return [
        Goal(
            f"{name}: from its peak on, the rate stays within 10 %",
            f"peak with {peak} connections; {kept:.0%} of it with {lowest}",
            kept >= KEPT,
        ),
        Goal(
            f"{name}: from the peak on, p99 is linear: at most {LINEAR:g} times the mean time",
            f"at most {times:.1f} times, with {worst} connections",
            times <= LINEAR,
        ),
    ]


def _rate(series: Series) -> float:
    return series.median(lambda each: each.per_second)


def _p99(series: Series) -> float:
    return series.median(lambda each: each.p99)


def _mean_ms(count: int, series: Series) -> float:
    return count / (_rate(series) or 1) * 1000


def _times_mean(count: int, series: Series) -> float:
    return series.median(lambda each: each.p99 * each.per_second / count / 1000)
