"""The application runs on the PostgreSQL versions that docs/operations.md lists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from backend.cli import databases as commands
from backend.cli.terminal import CommandError
from backend.dev.embedded_server import binaries
from tests import databases

ROOT = Path(__file__).parents[1]
FILES = (
    "tests/db",
    "tests/test_full_pass.py",
    "tests/test_encodings.py",
    "tests/test_cli_backup.py",
)


def exact_version(programs: Path) -> str:
    shown = subprocess.run(
        [programs / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    (found,) = re.findall(r"\(PostgreSQL\) (\d+\.\d+)", shown.stdout)
    return str(found)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("version", ["15", "16"])
def test_other_versions_pass_the_tests_of_the_database(version: str) -> None:
    if databases.programs_of(version) is None:
        assert not os.environ.get("CI"), f"PostgreSQL {version} is not installed"
        pytest.skip(f"PostgreSQL {version} is not installed")
    # The plugins of this test run set variables of their own.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    options = ["-q", "-p", "no:cacheprovider", "--postgres", version]
    if version != "15":
        # The slow ones take minutes, and run on the oldest version.
        options += ["-m", "not slow"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *FILES],
        cwd=ROOT,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_documents_name_the_versions_of_the_wheel() -> None:
    document = (ROOT / "docs" / "operations.md").read_text()
    for programs in binaries().parents[1].glob("pginstall*/bin"):
        assert exact_version(programs) in document


def test_the_run_uses_the_version_that_was_asked_for(pytestconfig: pytest.Config) -> None:
    programs = databases.chosen_programs(pytestconfig) or binaries()
    with databases.administration(databases.server_url(pytestconfig)) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    assert row is not None
    assert row[0].startswith(exact_version(programs))


def test_older_versions_are_refused(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No server of such a version is available, so the installed version counts as too old.
    monkeypatch.setattr(commands, "OLDEST_VERSION", 99)
    refusal = r"^PostgreSQL \d\d at \S+ is too old: point DATABASE_URL at PostgreSQL 99 or newer\.$"
    with pytest.raises(CommandError, match=refusal):
        commands.reach(databases.server_url(pytestconfig))
