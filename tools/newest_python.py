"""Runs setup and the quick tests on the newest supported Python besides the one in use.

They run in a copy of the project, by the commands that a person types there, so that neither .venv
nor the files of the project are touched.
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
# What is made by commands, or belongs to a developer.
LEFT_OUT = shutil.ignore_patterns(
    ".venv", ".env", "data", "build", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info"
)
VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.newest_python", description=__doc__)
    parser.add_argument("python", nargs="?", help="another Python than the newest that is found")
    parser.add_argument("tests", nargs="*", help="what make test is given as args")
    chosen = parser.parse_args()
    python = chosen.python or newest_python()
    if python is None:
        mine = "{}.{}".format(*sys.version_info)
        print(f"There is no other Python than {mine} to run the tests on; install one to do so.")
        return
    with tempfile.TemporaryDirectory(prefix="trellis-python-") as folder:
        project = Path(folder) / "project"
        shutil.copytree(ROOT, project, ignore=LEFT_OUT, symlinks=True)
        print(f"Running setup and the quick tests on {python} ...", flush=True)
        words = ["make", "test", f"PYTHON={python}", f"args={' '.join(chosen.tests)}"]
        # Not what an enclosing make has put there for its own children.
        environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
        sys.exit(subprocess.call(words, cwd=project, env=environment))


def newest_python() -> str | None:
    """The path of the newest supported Python whose version is not that of this process."""
    mine = "{}.{}".format(*sys.version_info)
    for name in NEWER_PYTHONS:
        version = name.removeprefix("python")
        if version != mine:
            for path in candidates(name):
                if version_of(path) == version:
                    return str(path)
    return None


def candidates(name: str) -> Iterator[Path]:
    """Programs of this name on PATH, then in the folders of pyenv, newest first."""
    for folder in os.get_exec_path():
        if (path := Path(folder) / name).exists():
            yield path
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"

    def release(path: Path) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", path.parents[1].name)]

    yield from sorted(pyenv.glob(f"*/bin/{name}"), key=release, reverse=True)


def version_of(path: Path) -> str | None:
    """None if it does not start, as the shims of version managers may not."""
    done = subprocess.run(
        [path, "-c", VERSION], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout.strip() if done.returncode == 0 else None


if __name__ == "__main__":
    main()
