"""Measure the server's speed beside a hand-written server (the floor) on this machine."""

import argparse
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import comparison, comparison_report, report
from bench.comparison import ComparisonOptions
from bench.endpoints import ENDPOINTS
from bench.run import Options, run
from bench.servers import BenchError

# The lines of the report, all figures, and the lines of the failures.
Outcome = tuple[list[str], dict[str, Any], list[str]]
NAMES = [*(endpoint.name for endpoint in ENDPOINTS), "sign-in", "flood", "limits", "guessing"]


def main() -> int:
    parser = _parser()
    options = parser.parse_args()
    # SystemExit unwinds the context managers, which end all started processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    against = [path.resolve() for path in options.against or ()]
    targets = tuple(path for path in against if not path.is_dir())
    unknown = set(options.only or ()) - set(comparison.NAMES)
    if targets and unknown:
        parser.error(f"--only {min(unknown)} measures this application alone")
    try:
        lines, figures, failures = (_compare if targets else _measure)(options, against)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("\n".join(lines))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))
    print("\n".join(failures), file=sys.stderr, end="\n" if failures else "")
    return 1 if failures else 0


def _measure(chosen: argparse.Namespace, against: list[Path]) -> Outcome:
    options = Options(
        seconds=chosen.seconds or 3,
        rounds=chosen.rounds or 3,
        connections=chosen.connections,
        only=tuple(chosen.only or ()),
        pin=not chosen.no_pin,
        against=tuple(against),
    )
    findings = run(options, _say)
    return [*report.table(findings)], asdict(findings), [*findings.failures()]


def _compare(chosen: argparse.Namespace, against: list[Path]) -> Outcome:
    options = ComparisonOptions(
        seconds=chosen.seconds or 4,
        rounds=chosen.rounds or 5,
        connections=chosen.connections,
        only=tuple(chosen.only or ()),
        pin=not chosen.no_pin,
        targets=tuple(path for path in against if not path.is_dir()),
        checkouts=tuple(path for path in against if path.is_dir()),
        checkout=chosen.checkout and chosen.checkout.resolve(),
        postgres=chosen.postgres and chosen.postgres.resolve(),
    )
    findings = comparison.run(options, _say)
    return [*comparison_report.table(findings)], asdict(findings), [*findings.failures()]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, help="seconds per measurement (3, or 4)")
    parser.add_argument("--rounds", type=int, help="rounds per variant (3, or 5)")
    parser.add_argument("--connections", type=int, default=32, help="keep-alive connections (32)")
    parser.add_argument("--only", choices=NAMES, action="append", help="may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--no-pin", action="store_true", help="do not pin processes to cores")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="PATH",
        action="append",
        help="also measure the checkout in this folder, in the same rounds, or compare with the "
        "server that this TOML file describes (with 4 seconds and 5 rounds); may be repeated",
    )
    parser.add_argument(
        "--checkout", type=Path, metavar="FOLDER", help="{checkout} in the TOML file"
    )
    parser.add_argument(
        "--postgres",
        type=Path,
        metavar="FOLDER",
        help="programs of the PostgreSQL to compare on, such as /usr/lib/postgresql/15/bin, "
        "if the other server needs extensions",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
