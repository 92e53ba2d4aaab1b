"""Changes of the code and of `.env` are detected, however they are made."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.dev import file_watcher
from backend.dev.file_watcher import FileWatcher
from backend.product import NAME
from tests.commands import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    (package / "inner" / "service.py").write_text("x = 1\n")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "router.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(file_watcher, "PACKAGE", package)
    return tmp_path


@pytest.fixture(params=["reported", pytest.param("compared", marks=pytest.mark.slow)])
def files(
    request: pytest.FixtureRequest, project: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FileWatcher]:
    """A watcher that uses the system's reports, and one that compares files."""
    if request.param == "compared":

        def refuse(*_: object, **__: object) -> None:
            raise OSError("no watches are left")

        monkeypatch.setattr(file_watcher, "watch", refuse)
    with FileWatcher() as watcher:
        yield watcher


def noticed(files: FileWatcher) -> Path | None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if changed := files.changed():
            return changed
        time.sleep(0.05)
    return None


def write(project: Path) -> Path:
    file = project / "package" / "inner" / "service.py"
    file.write_text("x = 2\n")
    return file


def replace(project: Path) -> Path:
    """Write another file and rename it, as many editors do."""
    file = project / "package" / "inner" / "service.py"
    draft = file.with_suffix(".tmp")
    draft.write_text("x = 2\n")
    return draft.replace(file)


def delete(project: Path) -> Path:
    file = project / "package" / "inner" / "service.py"
    file.unlink()
    return file


def move_folder(project: Path) -> Path:
    shutil.move(project / "outside", project / "package" / "notes")
    return project / "package" / "notes" / "router.py"


def write_settings(project: Path) -> Path:
    (project / ".env").write_text("LOG_LEVEL=debug\n")
    return Path(".env")


@pytest.mark.parametrize("change", [write, replace, delete, move_folder, write_settings])
def test_a_change_is_noticed_once(
    files: FileWatcher, project: Path, change: Callable[[Path], Path]
) -> None:
    assert files.changed() is None
    file = change(project)
    assert noticed(files) == file
    time.sleep(1)
    assert files.changed() is None


def test_other_files_are_no_change(files: FileWatcher, project: Path) -> None:
    cache = project / "package" / "__pycache__"
    cache.mkdir()
    (cache / "service.pyc").write_bytes(b"x")
    (project / "package" / "notes.txt").write_text("x")
    (project / "other.py").write_text("x = 1")
    time.sleep(1)
    assert files.changed() is None


@pytest.mark.slow
def test_a_missing_watchfiles_is_one_sentence() -> None:
    code = (
        "import sys; sys.modules['watchfiles'] = None; sys.argv[1:] = ['dev']; "
        "from backend.cli import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    sentence = (
        "`backend dev` needs the package watchfiles: run `make setup`, or install "
        f"{NAME}[development].\n"
    )
    assert (ended.returncode, ended.stderr) == (1, sentence)
