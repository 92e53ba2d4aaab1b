"""The server processes of a run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from socket import create_server

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 60.0
# Servers inherit only these variables, so that a run does not depend on the environment.
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


class BenchError(Exception):
    """An error that ends the run; its text is the reason."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    port: int
    pid: int
    seconds_to_ready: float

    def processor_seconds(self) -> float | None:
        """Return the processor time of its processes, ended ones too, or None without /proc."""
        if not Path("/proc/self/stat").exists():
            return None
        ticks = 0
        for pid in _family(self.pid):
            with suppress(FileNotFoundError, ProcessLookupError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(int(field) for field in fields[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident_megabytes(self) -> float | None:
        """Return the memory of its largest process, the worker, or None if there is no /proc."""
        pages = self._pages()
        return max(pages) * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024 if pages else None

    def _pages(self) -> list[int]:
        """Return the resident pages of each process."""
        pages = []
        if Path("/proc/self/statm").exists():
            for pid in _family(self.pid):
                with suppress(FileNotFoundError, ProcessLookupError):
                    pages.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]))
        return pages


def _family(pid: int) -> list[int]:
    """Return the pids of a process and its descendants; one may end meanwhile."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(descendant for child in children for descendant in _family(int(child)))]


def server_environment(checkout: Path, settings: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": str(checkout), **settings}


def application_command(port: int, processes: int = 1) -> list[str]:
    start = "from backend.cli import main; main()"
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(processes)]
    return [sys.executable, "-c", start, "serve", *options]


def floor_command(port: int) -> list[str]:
    return [sys.executable, "-m", "bench.host", "bench.floor:app", str(port)]


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def call(
    port: int, method: str, path: str, headers: Mapping[str, str] | None = None, body: str = ""
) -> tuple[int, bytes]:
    """Send one request on a new connection; return the status and the body."""
    connection = HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        connection.request(method, path, body=body or None, headers=dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@contextmanager
def serving(
    name: str,
    command: Sequence[str],
    *,
    port: int,
    folder: Path,
    environment: Mapping[str, str],
    ready: str,
    patience: float = PATIENCE_SECONDS,
    cwd: Path | None = None,
) -> Iterator[Server]:
    """Run a server for the length of the block, with its output in a file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        started = time.perf_counter()
        try:
            process = subprocess.Popen(
                command,
                # A folder without `.env`.
                cwd=cwd or folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A signal reaches the children that the server leaves behind.
                start_new_session=True,
            )
        except OSError as error:
            raise BenchError(f"{name}: the command {command[0]} does not run: {error}.") from None
    try:
        _wait(process, port, ready, log, patience)
        yield Server(name, port, process.pid, time.perf_counter() - started)
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(
    process: "subprocess.Popen[bytes]", port: int, ready: str, log: Path, patience: float
) -> None:
    deadline = time.monotonic() + patience
    last = "gave no response"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            last = f"ended with code {process.returncode}"
            break
        try:
            status, _ = call(port, "GET", ready)
        except (OSError, HTTPException):
            pass
        else:
            if status == 200:
                return
            last = f"responded with {status} instead of 200"
        time.sleep(0.01)
    else:
        last += f" to GET {ready} within {patience:g} seconds"
    output = "\n".join(log.read_text(errors="replace").splitlines()[-20:]) or "(nothing)"
    raise BenchError(f"{log.stem} did not become ready: it {last}. Its output ends with:\n{output}")
