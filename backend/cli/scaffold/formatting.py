"""Formatting of generated Python code by ruff, with the project's configuration."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap

from backend.cli.terminal import CommandError
from backend.db.schema.migrations import FOLDER

CONFIGURATION = FOLDER.parent / "pyproject.toml"
WIDTH = 100


def formatted(files: Mapping[str, str]) -> dict[str, str]:
    """Return the files by path, without unused imports, sorted and wrapped."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, "utf-8")
        ruff(root, "check", "--fix-only", "--select=F401,I")
        ruff(root, "format")
        is_wrapped = False
        for path in files:
            text = (root / path).read_text("utf-8")
            wrapped = "".join(map(_with_short_strings, text.splitlines(keepends=True)))
            if wrapped != text:
                (root / path).write_text(wrapped, "utf-8")
                is_wrapped = True
        if is_wrapped:
            ruff(root, "format")
        return {path: (root / path).read_text("utf-8") for path in files}


def ruff(root: Path, *command: str) -> None:
    """Run ruff on a folder of generated code; raise `CommandError` with what it finds."""
    options = "--quiet", "--no-cache", "--config", str(CONFIGURATION)
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, *options, "."],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        found = f"{done.stdout}{done.stderr}".strip()
        raise CommandError(
            f"The code cannot be formatted: run `make setup`, which installs ruff. {found}"
        )


def _with_short_strings(line: str) -> str:
    """Return the line with a long list of an SQL condition in several strings."""
    if len(line.rstrip()) <= WIDTH:
        return line
    return re.sub(
        r'"(\w+ IN \([^"]+)"',
        lambda match: "\n".join(
            f'"{part}"' for part in wrap(match[1], WIDTH - 30, drop_whitespace=False)
        ),
        line,
    )
