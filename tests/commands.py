"""Runs the command line as a person does: a process of its own, in a folder of its own."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from urllib.parse import urlsplit

from backend.core.settings import Settings
from backend.dev import embedded_host
from backend.dev.embedded_server import data_folder
from backend.modules.mail.settings import MailSettings
from backend.modules.users.settings import UserSettings
from tests.forks import Forked, fork

ROOT = Path(__file__).parents[1]
BACKEND = [sys.executable, "-c", "from backend.cli import main; main()"]
PATIENCE = 60
Process = Forked | subprocess.Popen[bytes]
# A developer's environment must not decide what tests see.
OURS = {
    name.upper() for kind in (Settings, MailSettings, UserSettings) for name in kind.model_fields
}


def environment(project: Path = ROOT, **settings: object) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    told = {name: str(value) for name, value in settings.items() if value is not None}
    ours = {"PYTHONPATH": str(project), "PYTHONWARNINGS": "error", "BCRYPT_COST": "4"}
    return kept | ours | told


def backend(
    *arguments: str,
    folder: Path,
    project: Path = ROOT,
    typed: str | None = None,
    **settings: Any,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. Nothing it prints may be a traceback."""
    with TemporaryFile("w+") as given, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        given.write(typed or "")
        given.seek(0)
        streams = (given.fileno(), out.fileno(), err.fileno())
        process = start(arguments, folder, project, environment(project, **settings), streams)
        try:
            code = process.wait(PATIENCE)
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
        out.seek(0)
        err.seek(0)
        done = subprocess.CompletedProcess(arguments, code, out.read(), err.read())
    assert "Traceback" not in done.stderr, done.stderr
    return done


def start(
    arguments: Sequence[str],
    folder: Path,
    project: Path,
    environment: Mapping[str, str],
    streams: tuple[int, int, int],
) -> Process:
    """Start a command in a session of its own, on these standard streams."""
    if project == ROOT:
        return fork(arguments, folder, environment, streams)
    given, out, err = streams
    return subprocess.Popen(
        [*BACKEND, *arguments],
        cwd=folder,
        env=environment,
        stdin=given,
        stdout=out,
        stderr=err,
        start_new_session=True,
    )


def refusal(*arguments: str, **options: Any) -> str:
    """What a command says that gives up: on standard error, with exit code 1."""
    done = backend(*arguments, **options)
    assert done.returncode == 1, (done.stdout, done.stderr)
    return done.stderr.strip()


def succeeds(*arguments: str, **options: Any) -> str:
    """What a command prints that does its work, and does not complain."""
    done = backend(*arguments, **options)
    assert (done.returncode, done.stderr) == (0, ""), (done.stdout, done.stderr)
    return done.stdout


class Running:
    """A command that goes on until it is stopped."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._log = log

    @property
    def output(self) -> str:
        return self._log.read_text()

    def says(self, pattern: str) -> str:
        """Wait until it has printed this; the group of the pattern, if it has one."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if found := re.search(pattern, self.output):
                return found[found.lastindex or 0]
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"it did not say {pattern!r} but:\n{self.output}")

    @property
    def url(self) -> str:
        return self.says(r"(http://[\w.:\[\]]+:\d+)")

    def kill(self, number: signal.Signals, *, group: bool = False) -> None:
        (os.killpg if group else os.kill)(self.pid, number)

    def ends(self) -> int:
        return self.process.wait(PATIENCE)

    def children(self) -> list[int]:
        """Its processes, grandchildren and helpers included; the embedded server is not one."""
        listed = subprocess.run(
            ["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True
        )
        rows = [line.split() for line in listed.stdout.splitlines()]
        return [
            int(pid)
            for pid, group, state in rows
            if int(group) == self.pid and int(pid) != self.pid and not state.startswith("Z")
        ]


@contextmanager
def running(
    *arguments: str, folder: Path, project: Path = ROOT, **settings: Any
) -> Iterator[Running]:
    log = folder / f"log-{time.monotonic_ns()}"
    # Tests that nohup or a background shell started must not hand on what is ignored there.
    before = {each: signal.signal(each, signal.SIG_DFL) for each in (signal.SIGHUP, signal.SIGINT)}
    with log.open("wb") as output, Path(os.devnull).open() as nothing:
        streams = (nothing.fileno(), output.fileno(), output.fileno())
        process = start(arguments, folder, project, environment(project, **settings), streams)
    for each, handler in before.items():
        signal.signal(each, handler)
    command = Running(process, log)
    try:
        yield command
        eventually(lambda: process.poll() is not None)
        # The helper of multiprocessing ends a moment after those whom it helps.
        eventually(lambda: not command.children())
        assert "Traceback" not in command.output, command.output
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def ask(url: str, path: str, form: str | None = None) -> tuple[int, Any]:
    """Status and JSON of an answer; (0, None) when nobody answers."""
    target = urlsplit(url)
    connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    try:
        connection.request("POST" if form else "GET", path, form, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except OSError:
        return 0, None
    finally:
        connection.close()


def postmaster(data: Path) -> int | None:
    """The pid of the embedded server of a data folder, if it runs."""
    home = data_folder(data / "postgres") / "data"
    pid = embedded_host.recorded_pid(home)
    return pid if pid is not None and embedded_host.serves(pid, home) else None


@contextmanager
def data_dir(folder: Path) -> Iterator[Path]:
    """A DATA_DIR; its embedded server must be stopped at the end, and goes with its data."""
    data = folder / "data"
    try:
        yield data
        assert postmaster(data) is None, "a server was left behind"
    finally:
        if pid := postmaster(data):
            os.kill(pid, signal.SIGKILL)
        home = data_folder(data / "postgres")
        shutil.rmtree(embedded_host.socket_folder(home), ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)
