"""Run the command line in a process and a folder of its own."""

import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
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
# Below those that Linux and macOS assign to connections by default.
PORTS = range(20_000, 32_768)
Process = Forked | subprocess.Popen[bytes]
# The developer's environment must not influence tests.
SETTING_NAMES = {
    name.upper() for kind in (Settings, MailSettings, UserSettings) for name in kind.model_fields
}


def environment(project: Path = ROOT, **settings: object) -> dict[str, str]:
    """Return the environment of a command; a setting that is None is left out."""
    inherited = {name: value for name, value in os.environ.items() if name not in SETTING_NAMES}
    defaults = {"PYTHONPATH": str(project), "PYTHONWARNINGS": "error", "BCRYPT_COST": "4"}
    given = {name: str(value) for name, value in settings.items() if value is not None}
    return inherited | defaults | given


def backend(
    *arguments: str,
    folder: Path,
    project: Path = ROOT,
    stdin: str | None = None,
    **settings: Any,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; fail if it prints a traceback."""
    with TemporaryFile("w+") as stdin_file, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        stdin_file.write(stdin or "")
        stdin_file.seek(0)
        streams = (stdin_file.fileno(), out.fileno(), err.fileno())
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
    """Start a command in a new session; `streams` are its standard input, output and error."""
    if project == ROOT:
        return fork(arguments, folder, environment, streams)
    stdin, out, err = streams
    return subprocess.Popen(
        [*BACKEND, *arguments],
        cwd=folder,
        env=environment,
        stdin=stdin,
        stdout=out,
        stderr=err,
        start_new_session=True,
    )


def refusal(*arguments: str, **options: Any) -> str:
    """Run a command that fails with exit code 1; return its standard error."""
    done = backend(*arguments, **options)
    assert done.returncode == 1, (done.stdout, done.stderr)
    return done.stderr.strip()


def output_of(*arguments: str, **options: Any) -> str:
    """Run a command that succeeds without warnings; return its standard output."""
    done = backend(*arguments, **options)
    assert (done.returncode, done.stderr) == (0, ""), (done.stdout, done.stderr)
    return done.stdout


class Running:
    """A command that runs until it is stopped."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._log = log

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait_for(self, pattern: str) -> str:
        """Wait until the output matches `pattern`; return its last group, or the whole match."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if found := re.search(pattern, self.output):
                return found[found.lastindex or 0]
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"{pattern!r} is not in the output:\n{self.output}")

    @property
    def url(self) -> str:
        return self.wait_for(r"(http://[\w.:\[\]]+:\d+)")

    def kill(self, number: signal.Signals, *, group: bool = False) -> None:
        (os.killpg if group else os.kill)(self.pid, number)

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def children(self) -> list[int]:
        """Return the pids of all processes in its group but its own; not the embedded server."""
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
    """Run a command during the block, which has to stop it; kill it at the end if it fails."""
    log = folder / f"log-{time.monotonic_ns()}"
    # Below nohup or a background shell these signals are ignored; the command must not inherit it.
    before = {name: signal.signal(name, signal.SIG_DFL) for name in (signal.SIGHUP, signal.SIGINT)}
    with log.open("wb") as output, Path(os.devnull).open() as nothing:
        streams = (nothing.fileno(), output.fileno(), output.fileno())
        process = start(arguments, folder, project, environment(project, **settings), streams)
    for name, handler in before.items():
        signal.signal(name, handler)
    command = Running(process, log)
    try:
        yield command
        eventually(lambda: process.poll() is not None)
        # The resource tracker of multiprocessing ends shortly after the workers.
        eventually(lambda: not command.children())
        assert "Traceback" not in command.output, command.output
    except AssertionError as error:
        error.add_note(f"The output of the command:\n{command.output}")
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """Return a port of the loopback interface on which nothing listens now.

    The kernel assigns none of `PORTS` to a connection, so a server can start again on its port.
    """
    while True:
        port = secrets.choice(PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.02)


def fetch(url: str, path: str, form: str | None = None) -> tuple[int, Any]:
    """Return status and JSON of a GET, or of a POST of `form`; (0, None) without a response."""
    target = urlsplit(url)
    connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    try:
        connection.request("POST" if form else "GET", path, form, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except OSError:
        return 0, None
    finally:
        connection.close()


def postmaster(data: Path) -> int | None:
    """Return the pid of the embedded server of a data folder, or None if it does not run."""
    home = data_folder(data / "postgres") / "data"
    pid = embedded_host.recorded_pid(home)
    return pid if pid is not None and embedded_host.serves(pid, home) else None


@contextmanager
def data_dir(folder: Path) -> Iterator[Path]:
    """Yield a new DATA_DIR; fail if its embedded server still runs at the end."""
    data = folder / "data"
    try:
        yield data
        assert postmaster(data) is None, "an embedded server still runs"
    finally:
        if pid := postmaster(data):
            os.kill(pid, signal.SIGKILL)
        home = data_folder(data / "postgres")
        shutil.rmtree(embedded_host.socket_folder(home), ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)
