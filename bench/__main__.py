"""Measure the server's speed beside a hand-written server (the floor) on this machine."""

import argparse
import json
import signal
import sys
from pathlib import Path

from bench.endpoints import ENDPOINTS
from bench.report import as_json, table
from bench.run import Options, run
from bench.servers import BenchError

NAMES = [*(endpoint.name for endpoint in ENDPOINTS), "sign-in", "flood", "limits", "guessing"]


def main() -> int:
    options = _parser().parse_args()
    # SystemExit unwinds the context managers, which end all started processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        findings = run(
            Options(
                seconds=options.seconds,
                rounds=options.rounds,
                connections=options.connections,
                only=tuple(options.only or ()),
                pin=not options.no_pin,
                against=tuple(folder.resolve() for folder in options.against or ()),
            ),
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("\n".join(table(findings)))
    if options.json:
        options.json.write_text(json.dumps(as_json(findings), indent=2))
    failures = list(findings.failures())
    print("\n".join(failures), file=sys.stderr, end="\n" if failures else "")
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3, help="seconds per measurement (3)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds per variant (3)")
    parser.add_argument("--connections", type=int, default=32, help="keep-alive connections (32)")
    parser.add_argument("--only", choices=NAMES, action="append", help="may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--no-pin", action="store_true", help="do not pin processes to cores")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FOLDER",
        action="append",
        help="also measure this checkout, in the same rounds; may be repeated",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
