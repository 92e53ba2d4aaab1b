"""Overload: five times the requests that the connections to the database can serve."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from drills.delay import delayed
from drills.load import Load, LoadReport, Outcome
from drills.site import Instance, Writes, compare_writes, database, instances, sign_in
from tests.commands import fetch

# Two connections for reads and two for transactions, which wait `REPLY_SECONDS` for each reply.
POOL_SIZE = 4
REPLY_SECONDS = 0.04
USERS = 20
# The ramp begins here, and each step is larger by this factor.
FIRST_RATE = 8.0
STEP = 1.3
FACTOR = 5
SAMPLE_SECONDS = 0.1


@dataclass
class Watch:
    """Samples of health and memory: statuses and seconds by path, and bytes of memory."""

    probes: defaultdict[str, list[tuple[int, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    memory: list[int] = field(default_factory=list)

    def failed(self) -> int:
        return sum(status != 200 for probes in self.probes.values() for status, _ in probes)


def overload(
    folder: Path,
    *,
    step_seconds: float,
    seconds: float,
    fresh_seconds: float,
    first_rate: float = FIRST_RATE,
    reply_seconds: float = REPLY_SECONDS,
    least: float = 0,
) -> tuple[LoadReport, Writes]:
    """Find the capacity by a ramp, offer `FACTOR` times as much, then half of it.

    The first `fresh_seconds` of the overload do not count, because requests still wait as in a
    burst. Goodput below `least` of the capacity is a failure.
    """
    with (
        database(folder) as url,
        delayed(url, reply_seconds) as slow,
        instances(folder, slow, count=1, DATABASE_POOL_SIZE=POOL_SIZE) as (instance,),
    ):
        with ThreadPoolExecutor(POOL_SIZE) as threads:
            tokens = tuple(threads.map(sign_in, [instance.url] * USERS))
        best = _capacity(instance, tokens, first_rate, step_seconds)
        before = _memory(instance)
        with _watched(instance) as watch:
            report = _offer(instance, tokens, FACTOR * best, seconds)
        settled = [each for each in report.outcomes if fresh_seconds <= each.at <= seconds]
        goodput = _successes(settled) / (seconds - fresh_seconds)
        afterwards = _offer(instance, tokens, best / 2, step_seconds)
        report.notes = [
            f"capacity            {best:.0f} requests/s, offered {FACTOR * best:.0f}",
            f"goodput             {goodput:.0f} requests/s, {goodput / best:.0%} of the capacity",
            *_refusals(settled),
            f"memory              {_megabytes(before, max(watch.memory), _memory(instance))}",
            *_health(watch),
            f"afterwards          {_afterwards(afterwards)}",
        ]
        report.failures += afterwards.failures
        report.failures["health"] = watch.failed()
        report.failures["too little goodput"] = int(goodput < least * best)
        report.acknowledged |= afterwards.acknowledged
        return report, compare_writes(url, report)


def _capacity(instance: Instance, tokens: tuple[str, ...], rate: float, seconds: float) -> float:
    """Return the best goodput of rates that grow until more of them does not help."""
    best = 0.0
    while True:
        report = _offer(instance, tokens, rate, seconds)
        goodput = _successes([each for each in report.outcomes if each.at <= seconds]) / seconds
        print(f"  offered {rate:.0f} requests/s: {goodput:.0f} served", flush=True)
        if goodput < best * 1.05:
            return max(best, goodput)
        best, rate = goodput, rate * STEP


def _offer(instance: Instance, tokens: tuple[str, ...], rate: float, seconds: float) -> LoadReport:
    first, *others = tokens
    load = Load(instance.url, first, rate, True, more_tokens=tuple(others), may_refuse=True)
    with load.running() as report:
        time.sleep(seconds)
    return report


def _successes(outcomes: list[Outcome]) -> int:
    return sum(each.status < 300 for each in outcomes)


@contextmanager
def _watched(instance: Instance) -> Iterator[Watch]:
    """Sample the health and the memory of the instance during the block."""
    watch, stopping = Watch(), threading.Event()

    def sample() -> None:
        number = 0
        while not stopping.wait(SAMPLE_SECONDS):
            watch.memory.append(_memory(instance))
            # Readiness takes several replies of the database, so it is checked more rarely.
            path = "/health/live" if number % 10 else "/health/ready"
            started = time.monotonic()
            status, _ = fetch(instance.url, path)
            watch.probes[path].append((status, time.monotonic() - started))
            number += 1

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield watch
    finally:
        stopping.set()
        thread.join()


def _memory(instance: Instance) -> int:
    """Return the resident memory of the server's process, in bytes."""
    assert instance.process is not None
    status = Path(f"/proc/{instance.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def _megabytes(*sizes: int) -> str:
    before, peak, after = (f"{size / 1e6:.0f}" for size in sizes)
    return f"{before} MB before, {peak} at most, {after} after"


def _afterwards(report: LoadReport) -> str:
    refused = report.requests - _successes(report.outcomes)
    return f"{report.requests} requests at half the capacity, {refused} refused"


def _refusals(outcomes: list[Outcome]) -> list[str]:
    refused = [each for each in outcomes if each.status == 503]
    served = [each.seconds for each in outcomes if each.status < 300]
    announced = sum(each.retry_after for each in refused)
    return [
        f"served after        {_times(served)}",
        f"refused             {len(refused)}, {announced} of them with Retry-After",
        f"refused after       {_times([each.seconds for each in refused])}",
    ]


def _health(watch: Watch) -> list[str]:
    return [
        f"{path:<20}{sum(status != 200 for status, _ in probes)} of {len(probes)} failed, "
        f"{_times([seconds for _, seconds in probes])}"
        for path, probes in sorted(watch.probes.items())
    ]


def _times(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    ordered = sorted(seconds)
    p50, p99 = (ordered[len(ordered) * share // 100] * 1000 for share in (50, 99))
    return f"{p50:.0f} ms (p50), {p99:.0f} ms (p99)"
