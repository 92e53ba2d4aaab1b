"""Packages of npm, in folders with a lock file."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.commands import ROOT


def require_packages(folder: Path) -> None:
    """Without Node or the packages of this folder, skip the test; in CI fail it."""
    if shutil.which("node") and (folder / "node_modules").is_dir():
        return
    prefix = folder.relative_to(ROOT)
    missing = f"needs node and packages: npm ci --ignore-scripts --prefix {prefix}"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def run(*command: str, folder: Path, timeout: int = 110, **environment: str) -> str:
    """Run a program in this folder to its end, and return its output."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
