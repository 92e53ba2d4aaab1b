"""A PostgreSQL primary and its standby, which a test can stop, freeze and promote."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from backend.dev import embedded_host as host
from backend.dev.embedded_server import binaries
from tests.commands import eventually, free_port
from tests.databases import upgrade

SETTINGS = {
    "fsync": "off",
    "wal_level": "replica",
    "max_wal_senders": "10",
    "hot_standby": "on",
    "shared_buffers": "32MB",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "logging_collector": "off",
    "wal_receiver_status_interval": "1s",
}


@dataclass
class PostgresServer:
    """A server on a port of the loopback interface."""

    folder: Path
    programs: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    def url(self, name: str = "trellis") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    @property
    def log(self) -> Path:
        return self.folder.parent / f"log-{self.port}"

    def start(self, **settings: str) -> None:
        chosen = {**SETTINGS, "port": str(self.port), **settings}
        options = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **host.surroundings(),
            )
        eventually(self.is_up)

    def is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"PostgreSQL did not start:\n{self.log.read_text()}"
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def execute(self, statement: str, name: str = "postgres") -> Any:
        """Run a statement; return the first column of its first row, or None."""
        with psycopg.connect(self.url(name), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to the server and to its children, which are in sessions of their own."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for process_id in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(process_id, number)

    def kill(self) -> None:
        assert self.process is not None
        self.signal_all(signal.SIGKILL)
        self.process.wait(30)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal_all(signal.SIGCONT)
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)


@contextmanager
def primary_and_standby() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """Run a primary with a migrated database `trellis`, and a standby that streams from it."""
    programs = host.runnable(binaries())
    parent = host.SYSTEM_FOLDER if os.geteuid() == 0 else None
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="trellis-pair-", dir=parent))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        servers = []
        for name in ("primary", "standby"):
            data = folder / name
            host.make_private(data)
            servers.append(PostgresServer(data, programs, free_port()))
            stack.callback(servers[-1].end)
        primary, standby = servers
        _run(
            programs / "initdb", "-D", primary.folder, "-U", "postgres", "-A", "trust", "--no-sync"
        )
        primary.start()
        primary.execute("CREATE DATABASE trellis TEMPLATE template0 ENCODING 'UTF8'")
        upgrade(primary.url())
        source = f"host=127.0.0.1 port={primary.port} user=postgres"
        _run(
            *(programs / "pg_basebackup", "-D", standby.folder, "-d", source),
            *("-R", "-X", "stream", "-c", "fast", "--no-sync"),
        )
        standby.start()
        yield primary, standby


def _run(*command: Any) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, **host.surroundings()
    )
    assert done.returncode == 0, done.stderr
