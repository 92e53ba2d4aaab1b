"""The results of a run as a table and as JSON."""

from collections.abc import Iterator
from statistics import median

from bench import guessing
from bench.endpoints import (
    ENDPOINTS,
    FLOOD_LIMIT,
    LIMITS_TARGET,
    MEGABYTES_LIMIT,
    READY_LIMIT,
    SIGN_IN_TARGET,
)
from bench.launcher import FLOOR
from bench.measure import Series
from bench.run import BARE_FLOOR, SIGNING_IN, Findings

ROW = "{:<8} {:<20} {:>8} {:>7} {:>7} {:>8} {:>6}  {:<9} {}"
HEAD = ("", "", "req/s", "p50 ms", "p99 ms", "CPU us", "errors", "of floor", "target")


def table(findings: Findings) -> Iterator[str]:
    """Yield the lines of the printed report."""
    yield _pinning(findings)
    yield ROW.format(*HEAD).rstrip()
    for endpoint in ENDPOINTS:
        variants = findings.endpoints.get(endpoint.name, [])
        by_name = {series.name: series for series in variants}
        for series in variants:
            share, target = "", ""
            if series.name not in (FLOOR, BARE_FLOOR):
                reached = series.share_of(by_name[FLOOR])
                share = f"{reached:.0%}"
                if endpoint.target:
                    target = _verdict(reached >= endpoint.target, f">= {endpoint.target:.0%}")
                if endpoint.p99_target:
                    p99 = series.median(lambda result: result.p99)
                    wanted = f"p99 < {endpoint.p99_target:g} ms"
                    target += ", " + _verdict(p99 < endpoint.p99_target, wanted)
            yield _row(endpoint.name, series, share, target)
    for series in findings.sign_in:
        share, target = "", ""
        if series.name == SIGNING_IN:
            reached = series.share_of(findings.sign_in[0])
            share = f"({reached:.0%})"
            target = _verdict(reached >= SIGN_IN_TARGET, f">= {SIGN_IN_TARGET:.0%} of undisturbed")
        yield _row("me", series, share, target)
    if findings.sign_in:
        yield f"Sign-ins meanwhile: {findings.sign_ins}; hashing runs at a lower priority."
    for series in findings.flood:
        yield _row("me", series, "", "")
    if findings.flood:
        quiet, flooded = (series.median(lambda result: result.p95) for series in findings.flood)
        verdict = _verdict(flooded < FLOOD_LIMIT * quiet, f"< {FLOOD_LIMIT:g} x")
        yield (
            f"p95 of me: {quiet:.1f} ms, while {findings.refused} sign-ins were refused "
            f"{flooded:.1f} ms: {flooded / quiet:.1f} x ({verdict})."
        )
    for series in findings.limits:
        share, target = "", ""
        if series is not findings.limits[0]:
            reached = series.share_of(findings.limits[0])
            share = f"({reached:.0%})"
            target = _verdict(reached >= LIMITS_TARGET, f">= {LIMITS_TARGET:.0%} of without")
        yield _row("me", series, share, target)
    yield from guessing.lines(findings.guesses)
    ready = findings.seconds_to_ready
    verdict = _verdict(ready < READY_LIMIT, f"< {READY_LIMIT:g} s")
    yield f"Start to ready: {ready:.2f} s ({verdict})."
    memory = findings.resident_megabytes
    if memory is not None:
        verdict = _verdict(memory < MEGABYTES_LIMIT, f"< {MEGABYTES_LIMIT} MB")
        yield f"Memory of the worker after the run: {memory:.0f} MB ({verdict})."
    yield (
        "Medians over the rounds; `of floor` is the median of the ratios of each round. "
        "A missed target is not a failure; an error is."
    )


def _row(name: str, series: Series, share: str, target: str) -> str:
    return ROW.format(
        name,
        series.name,
        f"{series.median(lambda result: result.per_second):.0f}",
        f"{series.median(lambda result: result.p50):.1f}",
        f"{series.median(lambda result: result.p99):.1f}",
        f"{median(series.processor_us):.0f}" if series.processor_us else "-",
        series.errors,
        share,
        target,
    ).rstrip()


def _verdict(reached: bool, wanted: str) -> str:
    return f"{wanted}: {'reached' if reached else 'missed'}"


def _pinning(findings: Findings) -> str:
    if findings.cores is None:
        return "Not pinned: servers, PostgreSQL and load share the cores, so ratios are rough."
    server, load = findings.cores
    return (
        f"Pinned: servers and PostgreSQL on core {server}, load on core {load}, "
        "so that they do not compete for a core."
    )
