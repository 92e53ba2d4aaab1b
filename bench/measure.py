"""Rounds of measurements: every variant in turn, so that all see the same machine."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from statistics import median

from bench.endpoints import Endpoint
from bench.load import Job, Result
from bench.servers import ROOT, Server, surroundings

WARM_UP_SECONDS = 0.3


class Generator:
    """A process that makes load; several can work at once."""

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
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.load", *([] if core is None else [str(core)])],
        env=surroundings(ROOT, {}),
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
    """One way to answer an endpoint."""

    name: str
    server: Server
    prefix: str = ""


@dataclass
class Series:
    """The rounds of one variant."""

    name: str
    results: list[Result] = field(default_factory=list)
    processor_us: list[float] = field(default_factory=list)

    def median(self, of: Callable[[Result], float]) -> float:
        return median(of(result) for result in self.results)

    @property
    def errors(self) -> int:
        return sum(result.errors for result in self.results)

    @property
    def first_error(self) -> str:
        return next((each.first_error for each in self.results if each.errors), "")

    def share_of(self, other: "Series") -> float:
        """The median over the rounds of this rate by the other's, which disturbances hit alike."""
        pairs = zip(self.results, other.results, strict=True)
        return median(mine.per_second / (theirs.per_second or 1) for mine, theirs in pairs)


def measure(variant: Variant, load: Generator, job: Job, series: Series) -> None:
    """One measurement, added to `series`."""
    warm_up = load.run(replace(job, seconds=min(WARM_UP_SECONDS, job.seconds)))
    before = variant.server.processor_seconds()
    result = load.run(job)
    after = variant.server.processor_seconds()
    result.errors += warm_up.errors
    result.first_error = result.first_error or warm_up.first_error
    series.results.append(result)
    if before is not None and after is not None and result.answers:
        series.processor_us.append((after - before) / result.answers * 1e6)


def disturbed(
    variant: Variant,
    load: Generator,
    job: Job,
    other: Generator,
    disturbance: Job,
    names: tuple[str, str],
    rounds: int,
) -> tuple[list[Series], int]:
    """The job alone and beside another in turn; and how many answers the other got."""
    quiet, busy = found = [Series(name) for name in names]
    answers = 0
    for _ in range(rounds):
        measure(variant, load, job, quiet)
        other.start(disturbance)
        measure(variant, load, job, busy)
        background = other.result()
        answers += background.answers
        busy.results[-1].errors += background.errors
        busy.results[-1].first_error += background.first_error
    return found, answers


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
    """All variants of an endpoint, `rounds` times in turn."""
    found = [Series(variant.name) for variant in variants]
    for _ in range(rounds):
        for variant, series in zip(variants, found, strict=True):
            request = endpoint.request(variant.server.port, token, prefix=variant.prefix)
            job = Job(variant.server.port, request, connections, seconds)
            measure(variant, load, job, series)
            between()
    return found
