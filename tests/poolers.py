"""A real pgbouncer on a port of its own, which a test can kill and restart."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from backend.dev import embedded_host
from tests.commands import eventually, free_port

# Debian installs it into a folder that is not on the PATH of ordinary users.
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Pooler:
    """A pgbouncer that can be started and killed; its address stays the same.

    `settings` are added to its configuration.
    """

    def __init__(self, folder: Path, database_url: str, settings: dict[str, Any]) -> None:
        self.port = free_port()
        server = conninfo_to_dict(database_url)
        self.place = f"127.0.0.1:{self.port}"
        self.url = f"postgresql://{server['user']}@{self.place}/{server['dbname']}"
        target = " ".join(f"{name}={server[name]}" for name in ("host", "port", "dbname"))
        configuration = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "transaction",
            **settings,
        }
        lines = [f"{name} = {value}" for name, value in configuration.items()]
        # With auth_type any, all clients connect as the user named here.
        databases = f"{server['dbname']} = {target} user={server['user']}"
        self._file = folder / "pgbouncer.ini"
        self._file.write_text("\n".join(["[databases]", databases, "[pgbouncer]", *lines, ""]))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert PROGRAM is not None
        # Like PostgreSQL, it refuses to run as root; its user must reach the server's socket.
        self._process = subprocess.Popen(
            [PROGRAM, "--quiet", self._file],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **embedded_host.surroundings(),
        )
        eventually(self._is_up)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "pgbouncer has ended"
        try:
            with psycopg.connect(self.url, prepare_threshold=None):
                return True
        except psycopg.OperationalError:
            return False


@contextmanager
def pooler(database_url: str, **settings: Any) -> Iterator[Pooler]:
    """Run a pooler in transaction mode. Without pgbouncer skip the test; in CI fail it."""
    if PROGRAM is None:
        assert not os.environ.get("CI"), "pgbouncer is not installed"
        pytest.skip("pgbouncer is not installed")
    with tempfile.TemporaryDirectory(prefix="trellis-pooler-") as name:
        folder = Path(name)
        # If the tests run as root, pgbouncer runs as another user.
        folder.chmod(0o755)
        bouncer = Pooler(folder, database_url, settings)
        bouncer.start()
        try:
            yield bouncer
        finally:
            bouncer.kill()
