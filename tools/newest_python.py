"""Run setup and the quick tests on the newest supported Python other than the one in use.

They run `make test` in a copy of the project, so that the project's files and .venv stay as they
are.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.bootstrap import NEWER_PYTHONS

ROOT = Path(__file__).resolve().parents[1]
# Generated files and local settings.
IGNORED = shutil.ignore_patterns(
    ".venv", ".env", "data", "build", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info"
)
VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.newest_python", description=__doc__)
    parser.add_argument("python", nargs="?", help="path of the Python to use")
    parser.add_argument("tests", nargs="*", help="value of args for make test")
    chosen = parser.parse_args()
    python = chosen.python or newest_python()
    if python is None:
        current = "{}.{}".format(*sys.version_info)
        print(f"No supported Python other than {current} is installed; install one to test on it.")
        return
    with tempfile.TemporaryDirectory(prefix="trellis-python-") as folder:
        project = Path(folder) / "project"
        shutil.copytree(ROOT, project, ignore=IGNORED, symlinks=True)
        print(f"Running setup and the quick tests on {python} ...", flush=True)
        command = ["make", "test", f"PYTHON={python}", f"args={' '.join(chosen.tests)}"]
        # An enclosing make sets these for its own children.
        environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
        sys.exit(subprocess.call(command, cwd=project, env=environment))


def newest_python() -> str | None:
    """Return the path of the newest supported Python whose version differs from this one's."""
    current = "{}.{}".format(*sys.version_info)
    for name in NEWER_PYTHONS:
        version = name.removeprefix("python")
        if version != current:
            for path in candidates(name):
                if version_of(path) == version:
                    return str(path)
    return None


def candidates(name: str) -> Iterator[Path]:
    """Yield programs of this name on PATH, then in the folders of pyenv, newest first."""
    for folder in os.get_exec_path():
        if (path := Path(folder) / name).exists():
            yield path
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"

    def release(path: Path) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", path.parents[1].name)]

    yield from sorted(pyenv.glob(f"*/bin/{name}"), key=release, reverse=True)


def version_of(path: Path) -> str | None:
    """Return its version, or None if it does not start (a version manager's shim)."""
    done = subprocess.run(
        [path, "-c", VERSION], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout.strip() if done.returncode == 0 else None


if __name__ == "__main__":
    main()
