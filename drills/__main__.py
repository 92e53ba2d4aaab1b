"""`python -m drills`: run one drill or all, and print the outcomes of the requests."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from drills.failover import failover, replica_loss
from drills.faults import faults
from drills.migrations import migrations
from drills.overload import overload
from drills.redis import redis_loss
from drills.rolling import rolling
from drills.site import Writes


class Report(Protocol):
    def failed(self) -> int:
        """Return the number of failures."""

    def lines(self) -> list[str]:
        """Return what is printed."""


Run = Callable[[Path], tuple[Report, Writes]]


class Drill(NamedTuple):
    """`may_fail` and `may_lose`: whether requests may fail, and acknowledged writes be lost."""

    description: str
    run: Run
    may_fail: bool = False
    may_lose: bool = False


DRILLS = {
    "rolling": Drill(
        "20 rolling restarts of two instances behind nginx; no request fails",
        lambda folder: rolling(folder, rolls=20, rate=100, delay=5),
    ),
    "replica": Drill(
        "the replica is killed and started again; no request fails",
        lambda folder: replica_loss(folder, rate=80, seconds=10),
    ),
    "failover": Drill(
        "the primary is killed, its synchronous standby promoted; no acknowledged write is lost",
        lambda folder: failover(folder, rate=80, seconds=15, synchronous=True),
        may_fail=True,
    ),
    "failover-asynchronous": Drill(
        "the same without synchronous replication, which may lose the newest writes",
        lambda folder: failover(folder, rate=80, seconds=15, synchronous=False),
        may_fail=True,
        may_lose=True,
    ),
    "redis": Drill(
        "the Redis of two instances is killed, started empty and frozen; no request fails",
        lambda folder: redis_loss(folder, rate=80, seconds=10),
    ),
    "overload": Drill(
        "five times the requests that the connections serve; goodput stays, the rest gets 503",
        lambda folder: overload(folder, step_seconds=5, seconds=30, fresh_seconds=10, least=0.8),
    ),
    "migrations": Drill(
        "each kind of safe migration on 500,000 rows; no request fails",
        lambda folder: migrations(folder, rows=500_000, rate=100),
    ),
    "faults": Drill(
        "five faults; dashboard, logs and traces show the one that is present, and no other",
        faults,
    ),
    "migrations-unsafe": Drill(
        "the same with an index that locks the table, which blocks writes",
        lambda folder: migrations(folder, rows=500_000, rate=100, unsafe=True),
        may_fail=True,
    ),
}


def main() -> int:
    lines = [f"  {name:<22}{drill.description}" for name, drill in DRILLS.items()]
    parser = argparse.ArgumentParser(
        prog="python -m drills",
        description=__doc__,
        epilog="drills:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", choices=[*DRILLS, []], metavar="DRILL")
    names = parser.parse_args().names or list(DRILLS)
    failed = 0
    for name in names:
        drill = DRILLS[name]
        print(f"{name}: {drill.description}", flush=True)
        with tempfile.TemporaryDirectory(prefix="trellis-drill-") as folder:
            report, writes = drill.run(Path(folder))
        print("\n".join(f"  {line}" for line in report.lines()))
        print(f"  lost writes         {writes.lost}\n  doubled writes      {writes.doubled}\n")
        failed += bool(
            (report.failed() and not drill.may_fail)
            or (writes.lost and not drill.may_lose)
            or writes.doubled
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
