"""`python -m drills`: run one drill or all, and print the outcomes of the requests."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from drills.load import LoadReport
from drills.rolling import rolling
from drills.site import Writes

Drill = Callable[[Path], tuple[LoadReport, Writes]]
DRILLS: dict[str, tuple[str, Drill]] = {
    "rolling": (
        "20 rolling restarts of two instances behind nginx; no request fails",
        lambda folder: rolling(folder, rolls=20, rate=100, delay=5),
    ),
}


def main() -> int:
    lines = [f"  {name:<12}{text}" for name, (text, _) in DRILLS.items()]
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
        text, drill = DRILLS[name]
        print(f"{name}: {text}", flush=True)
        with tempfile.TemporaryDirectory(prefix="trellis-drill-") as folder:
            report, writes = drill(Path(folder))
        print("\n".join(f"  {line}" for line in report.lines()))
        print(f"  lost writes         {writes.lost}\n  doubled writes      {writes.doubled}\n")
        failed += bool(report.failed() or writes.lost or writes.doubled)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
