"""The results of a comparison as a table and as JSON."""

from collections.abc import Callable, Iterator
from statistics import median

from bench.comparison import Comparison, Pair
from bench.load import Result

ROW = "{:<7} {:<20} {:>7} {:>8} {:>8} {:>7} {:>7} {:>7} {:>7} {:>6} {:>6}"
HEAD = "{:<28} {:>7} {:>8} {:>8} {:>7} {:>7} {:>7} {:>7} {:>6} {:>6}"


def table(findings: Comparison) -> Iterator[str]:
    """Yield the lines of the printed report."""
    connections = findings.connections
    if findings.cores:
        server, load = findings.cores
        yield f"Servers and PostgreSQL on core {server}, load on core {load}."
    else:
        yield "Not pinned: servers, PostgreSQL and load share the cores, so ratios are rough."
    yield (
        f"{connections} connections of {findings.callers} callers. Load average of the machine "
        f"before and after: {findings.load_before:.1f}, {findings.load_after:.1f}."
    )
    yield HEAD.format(
        *("", "", "CPU us", "CPU us", "p50 ms", "p99 ms", "p50 ms", "p99 ms", "bytes", "errors")
    )
    yield HEAD.format(
        *("", "req/s", "server", "database", *[f"at {connections}"] * 2, *["at 1"] * 2, "", "")
    ).rstrip()
    for endpoint, (own, *others) in findings.endpoints.items():
        yield _row(endpoint, own)
        for other in others:
            yield _row(endpoint, other)
            yield f"        against {other.name}: {_ratios(own, other)}"
    yield (
        "Medians over the rounds. A ratio is the median of the ratios of each round, with the "
        "smallest and the largest in brackets; above 1 the application is faster."
    )


def _row(endpoint: str, pair: Pair) -> str:
    def at(of: Callable[[Result], float]) -> list[str]:
        return [f"{series.median(of):.1f}" for series in (pair.many, pair.one)]

    (p50, p50_alone), (p99, p99_alone) = at(lambda each: each.p50), at(lambda each: each.p99)
    return ROW.format(
        endpoint,
        pair.name,
        f"{pair.many.median(lambda each: each.per_second):.0f}",
        _middle(pair.many.processor_us),
        _middle(pair.many.database_us),
        *(p50, p99, p50_alone, p99_alone),
        pair.response_bytes,
        pair.many.errors + pair.one.errors,
    )


def _middle(values: list[float]) -> str:
    return f"{median(values):.0f}" if values else "-"


def _ratios(own: Pair, other: Pair) -> str:
    rates = [
        ours.per_second / (theirs.per_second or 1)
        for ours, theirs in zip(own.many.results, other.many.results, strict=True)
    ]
    parts = [f"requests/s {_spread(rates)}"]
    for what, ours, theirs in (
        ("processor time", own.many.processor_us, other.many.processor_us),
        ("processor time at 1 connection", own.one.processor_us, other.one.processor_us),
    ):
        if ours and len(ours) == len(theirs):
            pairs = zip(ours, theirs, strict=True)
            parts.append(f"{what} {_spread([second / (first or 1) for first, second in pairs])}")
    return ", ".join(parts)


def _spread(ratios: list[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
