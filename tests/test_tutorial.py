"""The tutorial in docs/tutorial.md works from top to bottom, as a reader types it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import architecture
from tests.commands import (
    PATIENCE,
    ROOT,
    Running,
    data_dir,
    environment,
    eventually,
    fetch,
    free_port,
)
from tests.documents import Block, adds, blocks, content, files_of_page
from tests.npm import require_packages

PAGE = "tutorial.md"
FILES = files_of_page(PAGE)
CLIENT = Path("clients", "typescript")


def test_its_module_follows_the_rules_of_the_house() -> None:
    sources = [
        architecture.Source(path.removesuffix(".py").replace("/", "."), text)
        for path, text in FILES.items()
        if path.startswith("backend/")
    ]
    assert len(sources) == 9
    assert list(architecture.layer_violations(sources)) == []
    assert list(architecture.module_violations(sources, {"notes": ["audit", "users"]})) == []
    assert list(architecture.direction_violations(sources)) == []


def copied_project(folder: Path) -> Path:
    """Return a copy of the project, which shares the installed packages."""
    project = folder / "trellis"
    for name in ("backend", "docs", "migrations", "tests", "tools"):
        shutil.copytree(ROOT / name, project / name, symlinks=True)  # with bytecode
    left_out = shutil.ignore_patterns("node_modules", "dist")
    shutil.copytree(ROOT / CLIENT, project / CLIENT, ignore=left_out)
    for name in ("Makefile", "pyproject.toml", "openapi.json", "openapi.released.json"):
        shutil.copy2(ROOT / name, project / name)
    (project / ".venv").symlink_to(sys.prefix)
    (project / CLIENT / "node_modules").symlink_to(ROOT / CLIENT / "node_modules")
    return project


class Reader:
    """Writes the files of the page, and types its commands, which share variables and functions."""

    def __init__(self, project: Path, stack: ExitStack) -> None:
        self.project = project
        self.port = str(free_port())
        self.written: dict[str, str] = {}
        self._stack = stack
        self._dev: Running | None = None
        programs = project.parent / "bin"
        programs.mkdir()
        # The packages are installed already; another installation would need the network.
        shim = f'#!/bin/sh\n[ "$1" = ci ] || exec {shutil.which("npm")} "$@"\n'
        (programs / "npm").write_text(shim)
        (programs / "npm").chmod(0o755)
        inherited = environment(project, PYTHONWARNINGS=None)
        self._environment = {
            **{name: value for name, value in inherited.items() if "PYTEST" not in name},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            # The copy shares .venv with the project, so there is nothing to set up.
            "MAKEFLAGS": "READY=:",
            "PYTEST_XDIST_AUTO_NUM_WORKERS": "1",
        }

    def follow(self, step: list[Block]) -> None:
        """Write the files of a step at once; then run its command, and compare the output."""
        former = set(self._dev.children()) if self._dev else set()
        for block in step:
            if block.path is not None:
                self.written[block.path] = content(block, self.written)
                file = self.project / block.path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(self._here(self.written[block.path]))
        if self._dev is not None and any((each.path or "").startswith("backend") for each in step):
            self._await_restart(self._dev, former)
        command, expected = step[-1], ""
        if command.language == "":
            command, expected = step[-2], step[-1].text
        output = self._typed(self._here(command.text))
        for line in expected.splitlines():
            pattern = re.escape(line).replace("…", ".*")
            assert re.search(f"^{pattern}$", output, re.MULTILINE), f"{line} is not in:\n{output}"

    def _typed(self, text: str) -> str:
        if text == "make dev\n":
            self._start()
            return ""
        variables = self.project.parent / "variables"
        names = 'compgen -v | grep -x "[[:lower:]]*"'
        listed = f"{names} | while read each; do declare -p $each; done; declare -f"
        keep = f"trap '({listed}) >{variables} || true' EXIT"
        script = f"set -euo pipefail\n[ ! -e {variables} ] || . {variables}\n{keep}\n{text}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.project,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}"
        return done.stdout

    def _start(self) -> None:
        log = self.project.parent / "dev.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["make", "dev", f"args=--port {self.port}"],
                cwd=self.project,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._stack.callback(process.wait, PATIENCE)
        self._stack.callback(os.killpg, process.pid, signal.SIGTERM)
        self._dev = Running(process, log)
        self._dev.wait_for("Ctrl-C")

    def _await_restart(self, dev: Running, former: set[int]) -> None:
        """Wait until the former API and worker have ended, and the new API answers."""
        # `make dev` itself remains.
        eventually(lambda: len(former.intersection(dev.children())) == 1)
        eventually(lambda: fetch(f"http://127.0.0.1:{self.port}", "/health/live")[0] == 200)

    def _here(self, text: str) -> str:
        return text.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")


def steps() -> Iterator[list[Block]]:
    """Yield the blocks of the page up to each command, with the output that the page shows."""
    step: list[Block] = []
    for block in blocks(PAGE):
        if block.language and any(each.language == "sh" for each in step):
            yield step
            step = []
        step.append(block)
    yield step


@pytest.mark.slow
@pytest.mark.timeout(900)
@adds("notes")
def test_every_block_runs_in_the_order_of_the_page(tmp_path: Path) -> None:
    """As the reader has it: without settings, so with the embedded server in `data`."""
    require_packages(ROOT / CLIENT)
    project = copied_project(tmp_path)
    with data_dir(project), ExitStack() as stack:
        reader = Reader(project, stack)
        for step in steps():
            reader.follow(step)
        assert reader.written == FILES
