"""`backend serve` with several workers on one database; a test can kill them."""

import os
import re
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.applications import DEFAULTS
from tests.commands import Running, eventually, fetch, running

STARTED = "Application startup complete"


def worker_pids(serve: Running) -> list[int]:
    """Return the pids of its workers, without the resource tracker of multiprocessing."""
    return [pid for pid in serve.children() if b"spawn_main" in _command_line(pid)]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        # The process has ended since it was listed.
        return b""


def _is_stopped(pid: int) -> bool:
    # The state follows the name in parentheses, which may contain spaces.
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"T"


@dataclass(frozen=True)
class Server:
    """A running `backend serve` at `url`."""

    url: str
    workers: int
    process: Running

    def worker_pids(self) -> list[int]:
        return worker_pids(self.process) if self.workers > 1 else [self.process.pid]

    def kill_worker(self, index: int = 0) -> int:
        """Kill a worker with SIGKILL and return its pid."""
        pids = self.worker_pids()
        pid = pids[index % len(pids)]
        os.kill(pid, signal.SIGKILL)
        return pid

    @contextmanager
    def others_frozen(self, pid: int) -> Iterator[None]:
        """During the block, only this worker serves; for less than the parent's patience."""
        others = [each for each in self.worker_pids() if each != pid]
        try:
            for each in others:
                os.kill(each, signal.SIGSTOP)
                eventually(partial(_is_stopped, each))
            yield
        finally:
            for each in others:
                os.kill(each, signal.SIGCONT)

    def has_all_workers(self) -> bool:
        """Return whether all workers run; a killed one is replaced within a second."""
        return len(self.worker_pids()) == self.workers

    def is_ready(self) -> bool:
        return fetch(self.url, "/health/ready")[0] == 200

    @property
    def output(self) -> str:
        """The log of all processes so far."""
        return self.process.output


@contextmanager
def served(database_url: str, *, workers: int = 2, **environment: Any) -> Iterator[Server]:
    """Run `backend serve --workers N` on this database during the block; then send SIGTERM.

    The key is that of `make_context`, so that a test can verify and create tokens itself.
    `environment` is added to the settings below.
    """
    settings: dict[str, Any] = {
        "ENVIRONMENT": "test",
        "DATABASE_URL": database_url,
        "SECRET_KEY": DEFAULTS["secret_key"].get_secret_value(),
        "RATE_LIMIT_ENABLED": "false",
        "BCRYPT_COST": 4,
        **environment,
    }
    arguments = ("serve", "--port", "0", "--workers", str(workers))
    with (
        tempfile.TemporaryDirectory(prefix="trellis-serve-") as folder,
        running(*arguments, folder=Path(folder), **settings) as process,
    ):
        process.wait_for(rf"(?s)(?:{re.escape(STARTED)}.*){{{workers}}}")
        server = Server(process.url, workers, process)
        eventually(server.is_ready)
        yield server
        process.kill(signal.SIGTERM)
        assert process.wait() == 0, server.output
