"""The server as it runs in production: several processes on one database, which can be killed."""

import os
import re
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.applications import DEFAULTS
from tests.commands import Running, ask, eventually, running

STARTED = "Application startup complete"


def worker_pids(serve: Running) -> list[int]:
    """The processes that answer, of several; one more helps multiprocessing to count."""
    return [pid for pid in serve.children() if b"spawn_main" in _command_line(pid)]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        # It has ended since it was listed.
        return b""


@dataclass(frozen=True)
class Server:
    """`backend serve` with all its workers answering at `url`."""

    url: str
    workers: int
    process: Running

    def worker_pids(self) -> list[int]:
        return worker_pids(self.process) if self.workers > 1 else [self.process.pid]

    def kill_worker(self, index: int = 0) -> int:
        """End a worker as the kernel would: at once, whatever it does. Returns its pid."""
        pids = self.worker_pids()
        pid = pids[index % len(pids)]
        os.kill(pid, signal.SIGKILL)
        return pid

    def is_whole(self) -> bool:
        """Whether as many workers run as should; a killed one is replaced within a second."""
        return len(self.worker_pids()) == self.workers

    def is_ready(self) -> bool:
        return ask(self.url, "/health/ready")[0] == 200

    @property
    def output(self) -> str:
        """What all processes have logged so far."""
        return self.process.output


@contextmanager
def served(database_url: str, *, workers: int = 2, **environment: Any) -> Iterator[Server]:
    """`backend serve --workers N` on this database until the end of the block; then SIGTERM.

    The key is that of `make_context`, so that a test can read and make tokens itself.
    `environment` is added to what servers of tests are told, or replaces it.
    """
    told: dict[str, Any] = {
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
        running(*arguments, folder=Path(folder), **told) as process,
    ):
        process.says(rf"(?s)(?:{re.escape(STARTED)}.*){{{workers}}}")
        server = Server(process.url, workers, process)
        eventually(server.is_ready)
        yield server
        process.kill(signal.SIGTERM)
        assert process.ends() == 0, server.output
