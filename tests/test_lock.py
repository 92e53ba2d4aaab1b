"""`make lock` names all files of each release, so that every Python and platform can install."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools import lock

FOLDERS = {
    "UV_INDEX": "file:///opt/wheels https://packages.example.com/simple /opt/wheels",
    "UV_FIND_LINKS": "/opt/wheels",
}
OLD = """\
anyio==4.16.0 ; os_name != 'nt' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via httpx
"""


@pytest.fixture
def with_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FOLDERS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("with_folders")
def test_reads_no_folders_of_this_machine() -> None:
    environment = lock.remote_indexes()
    assert environment["UV_INDEX"] == "https://packages.example.com/simple"
    assert "UV_FIND_LINKS" not in environment


def test_keeps_versions_and_asks_for_hashes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run(command: list[str], **_: Any) -> None:
        output = Path(command[command.index("--output-file") + 1])
        seen.append(output.read_text())
        output.write_text("new")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(lock, "remote_indexes", dict)
    assert lock.compiled(OLD, []) == "new"
    assert seen == ["anyio==4.16.0 ; os_name != 'nt'\n    # via httpx\n"]
