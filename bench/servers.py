"""The server processes of a run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
        """Return the processor time of it and its children, or None if there is no /proc."""
        if not Path("/proc/self/stat").exists():
            return None
        ticks = 0
        for pid in _family(self.pid):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident_megabytes(self) -> float | None:
        """Return the memory of its largest process, the worker, or None if there is no /proc."""
        if not Path("/proc/self/statm").exists():
            return None
        pages = [
            int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in _family(self.pid)
        ]
        return max(pages) * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
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
) -> Iterator[Server]:
    """Run a server for the length of the block, with its output in a file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            # A folder without `.env`.
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(process, port, ready, log)
        yield Server(name, port, process.pid, time.perf_counter() - started)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int, ready: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if call(port, "GET", ready)[0] == 200:
                return
        except (OSError, HTTPException):
            pass
        time.sleep(0.01)
    output = log.read_text(errors="replace")[-2000:]
    raise BenchError(f"{log.stem} did not become ready:\n{output}")
