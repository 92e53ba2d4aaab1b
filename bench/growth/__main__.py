"""Measure how the cost of a request grows with items, connections, workers and time."""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench.comparison import production_settings
from bench.cores import pinned
from bench.growth.connections import measure_connections
from bench.growth.findings import Part, lines
from bench.growth.items import OLDEST, measure_items
from bench.growth.memory import measure_memory
from bench.growth.plot import svg
from bench.growth.site import Site
from bench.growth.workers import measure_workers
from bench.postgres import postgres
from bench.servers import ROOT, BenchError

SIZES = (1_000, 10_000, 100_000, 1_000_000)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
WORKERS = (1, 2, 3, 4)
NAMES = ("items", "connections", "workers", "memory")
PLOT = ROOT / "docs" / "growth.svg"


def main() -> int:
    parser = _parser()
    options = parser.parse_args()
    if min(options.items) < OLDEST:
        parser.error(f"--items needs numbers of at least {OLDEST}: two pages of the caller's own")
    # SystemExit unwinds the context managers, which end all started processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    load_before = os.getloadavg()[0]
    try:
        parts = _run(options)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    conditions = (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores; load average of the machine before "
        f"and after: {load_before:.1f}, {os.getloadavg()[0]:.1f}"
    )
    print(f"{conditions}.\n")
    print("\n".join(line for part in parts for line in lines(part)))
    if options.json:
        options.json.write_text(json.dumps([asdict(part) for part in parts], indent=2))
    panels = [panel for part in parts for panel in part.panels]
    complete = all(part.panels for part in parts) and len(parts) == len(NAMES)
    if plot := options.plot or (PLOT if complete else None):
        plot.write_text(svg("Cost as the work grows", conditions, panels))
        _say(f"The plot is in {plot}.")
    else:
        _say("The plot is written with all parts; --plot FILE writes one of the measured parts.")
    return 1 if any(part.errors for part in parts) else 0


def _run(options: argparse.Namespace) -> list[Part]:
    measures: dict[str, Callable[[Site], Part]] = {
        "items": lambda site: measure_items(site, options.items),
        "connections": lambda site: measure_connections(site, options.connections),
        "workers": lambda site: measure_workers(site, options.workers),
        "memory": lambda site: measure_memory(site, options.minutes),
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        # Before any process starts, because processes inherit the affinity.
        cores = stack.enter_context(pinned())
        site = Site(
            folder,
            stack.enter_context(postgres()),
            production_settings(""),
            _say,
            options.seconds,
            options.rounds,
            cores[1] if cores else None,
        )
        site.prepare()
        chosen = [name for name in NAMES if name in (options.only or NAMES)]
        return [_measured(name, measures[name], site) for name in chosen]


def _measured(name: str, measure: Callable[[Site], Part], site: Site) -> Part:
    """Measure one part; a part that cannot be measured does not end the run."""
    try:
        return measure(site)
    except BenchError as error:
        return Part(name.capitalize(), "This part could not be measured.", errors=[str(error)])


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _numbers(text: str) -> list[int]:
    """Parse `1000,10000` into ascending numbers."""
    return sorted({int(part.replace("_", "")) for part in text.split(",")})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    add = parser.add_argument
    add("--only", choices=NAMES, action="append", help="may be repeated")
    add("--seconds", type=float, default=3, help="seconds per measurement (3)")
    add("--rounds", type=int, default=3, help="rounds (3)")
    add("--items", type=_numbers, default=SIZES, help="numbers of items (1000,...,1000000)")
    add("--connections", type=_numbers, default=COUNTS, help="numbers (1,2,4,...,512)")
    add("--workers", type=_numbers, default=WORKERS, help="numbers of processes (1,2,3,4)")
    add("--minutes", type=float, default=10, help="minutes of mixed load (10)")
    add("--plot", type=Path, metavar="FILE", help="the SVG file (docs/growth.svg)")
    add("--json", type=Path, metavar="FILE", help="write all figures to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
