"""Runs of the benchmark in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.commands import ROOT


def bench_output(module: str, *arguments: str | Path, folder: Path) -> str:
    """Run `python -m module` with temporary files in `folder`; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
