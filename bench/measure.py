"""Rounds of measurements, all variants in turn, so that changes of the machine affect all alike."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from statistics import median

from bench.endpoints import Endpoint
from bench.load import Job, Result
from bench.servers import ROOT, Server, server_environment

WARM_UP_SECONDS = 0.3


class Generator:
    """A load generator process; several can work at once."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def start(self, job: Job) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()

    def result(self) -> Result:
        assert self._process.stdout is not None
        return Result(**json.loads(self._process.stdout.readline()))

    def run(self, job: Job) -> Result:
        self.start(job)
        return self.result()


@contextmanager
def generator(core: int | None) -> Iterator[Generator]:
    """Run a load generator, pinned to `core` if one is given."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.load", *([] if core is None else [str(core)])],
        env=server_environment(ROOT, {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Generator(process)
    finally:
        process.kill()
        process.communicate()


@dataclass(frozen=True)
class Variant:
    """A server to measure; `prefix` is put before the endpoint's path."""

    name: str
    server: Server
    prefix: str = ""


@dataclass
class Series:
    """The rounds of one variant."""

    name: str
    results: list[Result] = field(default_factory=list)
    processor_us: list[float] = field(default_factory=list)
    # Of PostgreSQL, where it is measured.
    database_us: list[float] = field(default_factory=list)

    def median(self, of: Callable[[Result], float]) -> float:
        return median(of(result) for result in self.results)

    @property
    def errors(self) -> int:
        return sum(result.errors for result in self.results)

    @property
    def first_error(self) -> str:
        return next((result.first_error for result in self.results if result.errors), "")

    def share_of(self, other: "Series") -> float:
        """Return the median over the rounds of this series' rate divided by the other's."""
        pairs = zip(self.results, other.results, strict=True)
        return median(own.per_second / (base.per_second or 1) for own, base in pairs)


def measure(
    variant: Variant, load: Generator, job: Job, series: Series, database: Server | None = None
) -> None:
    """Measure once and add the result to `series`."""
    warm_up = load.run(replace(job, seconds=min(WARM_UP_SECONDS, job.seconds)))
    before = variant.server.processor_seconds()
    database_before = database.processor_seconds() if database else None
    result = load.run(job)
    after = variant.server.processor_seconds()
    database_after = database.processor_seconds() if database else None
    result.errors += warm_up.errors
    result.first_error = result.first_error or warm_up.first_error
    series.results.append(result)
    if before is not None and after is not None and result.responses:
        series.processor_us.append((after - before) / result.responses * 1e6)
    if database_before is not None and database_after is not None and result.responses:
        series.database_us.append((database_after - database_before) / result.responses * 1e6)


def disturbed(
    variant: Variant,
    load: Generator,
    job: Job,
    other: Generator,
    disturbance: Job,
    names: tuple[str, str],
    rounds: int,
) -> tuple[list[Series], int]:
    """Measure the job alone and beside another in turn; count the other's responses."""
    quiet, busy = both = [Series(name) for name in names]
    responses = 0
    for _ in range(rounds):
        measure(variant, load, job, quiet)
        other.start(disturbance)
        measure(variant, load, job, busy)
        background = other.result()
        responses += background.responses
        busy.results[-1].errors += background.errors
        busy.results[-1].first_error += background.first_error
    return both, responses


def compare(
    endpoint: Endpoint,
    variants: list[Variant],
    load: Generator,
    *,
    token: str,
    rounds: int,
    seconds: float,
    connections: int,
    between: Callable[[], None],
) -> list[Series]:
    """Measure all variants of an endpoint in turn, `rounds` times; call `between` after each."""
    all_series = [Series(variant.name) for variant in variants]
    for _ in range(rounds):
        for variant, series in zip(variants, all_series, strict=True):
            request = endpoint.request(variant.server.port, token, prefix=variant.prefix)
            job = Job(variant.server.port, [request], connections, seconds)
            measure(variant, load, job, series)
            between()
    return all_series
