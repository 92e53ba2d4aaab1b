"""Remove modules from copies of the project, and examine what is left.

Every module that nothing depends on is removed in turn, with its tests: the application must be
built, with its OpenAPI document, follow the architecture rules, and all tests must be collected,
which imports their files. Without `--quick`, the checks and the quick tests run too, without
`items` and without `articles`; each takes some minutes.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from backend.cli.module_removal import folders_of, uses
from backend.core.registry import discover
from tools.newest_python import IGNORED

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ("items", "articles")
GIT = ["git", "-c", "user.name=drill", "-c", "user.email=drill@localhost"]
BACKEND = [sys.executable, "-c", "from backend.cli import main; main()"]
# The rules of test_architecture.py for the application are its functions without parameters.
EXAMINE = """
import inspect
from backend.cli.listing import blueprint
from tests import test_architecture as rules

paths = blueprint().openapi()["paths"]
kept = [f for name, f in vars(rules).items() if name.startswith("test_")]
for rule in kept:
    if not inspect.signature(rule).parameters:
        rule()
print(f"{len(paths)} paths")
"""
EXAMINATIONS = (
    [sys.executable, "-W", "error", "-c", EXAMINE],
    # It prints the files that cannot be imported only, and ends with their errors.
    [sys.executable, "-m", "pytest", "--collect-only", "-qqq", "--no-header"],
)


def removable() -> list[str]:
    modules = discover()
    return sorted(module.name for module in modules if not any(uses(module, modules)))


def examine(project: Path, name: str) -> str:
    """Remove the module from the copy, and return what is wrong then; nothing if all is well.

    The folders come back afterwards.
    """
    removed = [project / folder.relative_to(ROOT) for folder in folders_of(name)]
    with tempfile.TemporaryDirectory() as kept:
        moved = [(folder, Path(kept) / str(n)) for n, folder in enumerate(removed)]
        for folder, place in moved:
            if folder.exists():
                shutil.move(folder, place)
        found = [*filter(None, (output_of_failure(project, each) for each in EXAMINATIONS))]
        for folder, place in moved:
            if place.exists():
                shutil.move(place, folder)
    return "\n".join(found)


def output_of_failure(project: Path, command: Sequence[str]) -> str:
    """Run a command in the project, and return its output if it fails; nothing otherwise."""
    done = subprocess.run(
        command,
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def full_run(project: Path, name: str) -> bool:
    """Remove the module with the command, and run all checks and the quick tests."""
    for command in (
        [*BACKEND, "module", "remove", name, "--yes"],
        [sys.executable, "-m", "tools.pages", "--check"],
        [*BACKEND, "openapi", "--output", "openapi.json"],
        [sys.executable, "-m", "tools.errors"],
        [sys.executable, "-m", "tools.contract", "--release"],
        [sys.executable, "-m", "ruff", "check"],
        [sys.executable, "-m", "mypy"],
        [*BACKEND, "db", "check"],
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "-m", "not slow"],
    ):
        print(f"Without {name}: {' '.join(command[-4:])}", flush=True)
        if subprocess.run(command, cwd=project, env=environment(project), check=False).returncode:
            return False
    return True


def environment(project: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(project), "DATA_DIR": str(project / "data")}


@contextmanager
def copied() -> Iterator[Path]:
    """Copy the project into a temporary folder, with a repository of its own."""
    with tempfile.TemporaryDirectory(prefix="trellis-removal-") as folder:
        project = Path(folder) / "project"
        # The .git of a worktree is a file: git would write into the repository of the project.
        shutil.copytree(
            ROOT, project, symlinks=True, ignore=lambda *place: {*IGNORED(*place), ".git"}
        )
        (project / ".venv").symlink_to(sys.prefix)
        for command in (["init", "-q"], ["add", "."], ["commit", "-q", "--message", "Begin"]):
            subprocess.run([*GIT, *command], cwd=project, check=True)
        yield project


def quick_drill(names: Sequence[str]) -> Iterator[str]:
    """Yield the name of each module whose removal leaves something wrong, and print what."""
    with copied() as project:
        for name in names:
            started = time.monotonic()
            found = examine(project, name)
            print(f"Without {name}: {time.monotonic() - started:.0f} s", flush=True)
            if found:
                print(found, flush=True)
                yield name


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.removal_drill", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only examine each removal")
    chosen = parser.parse_args()
    failed = list(quick_drill(removable()))
    for name in () if chosen.quick else SAMPLES:
        with copied() as project:
            if not full_run(project, name):
                failed.append(name)
    if failed:
        sys.exit(f"Checks fail without {', '.join(failed)}. Their output is above.")
    print("Every removal leaves a project that passes.")


if __name__ == "__main__":
    main()
