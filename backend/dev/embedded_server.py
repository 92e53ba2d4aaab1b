"""An embedded PostgreSQL server for development and tests: one per folder, shared by all commands.

Only the programs of the wheel are used. Its Python interface opens parent folders to everybody and
remembers killed users for ever; here users are counted by kernel locks, which die with them.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import quote

import psycopg

from backend.dev import embedded_host as host
from backend.dev.embedded_host import CURE, EmbeddedError, binaries, data_folder
from backend.dev.stop_signals import blocked_signals, run_to_end

__all__ = [
    "EmbeddedError",
    "EmbeddedServer",
    "binaries",
    "data_folder",
    "embedded_server",
    "server_url",
]

PATIENCE = 60.0
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # part of the socket's name; nothing listens on the network
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# The sort order must not depend on the machine, and the C library changes its own now and then.
LOCALE = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
# PostgreSQL 15 and 16 have no such provider. This locale of the C library has the same order.
LOCALE_BEFORE_17 = ("--encoding=UTF8", "--locale=C.UTF-8")


class StillStartingError(EmbeddedError):
    """The server is running but does not respond yet."""


def embedded_server(
    folder: Path, *, fast: bool = False, programs: Path | None = None
) -> "EmbeddedServer":
    """A context manager that joins the server of `folder` or starts it; the last one out stops it.

    `fast` is for tests: a crash of the machine may lose everything. `programs` is a folder with
    the programs of another PostgreSQL (15 or newer) than the installed wheel's newest. Who joins a
    running server takes it as it is. Turn SIGTERM into SystemExit, or it ends the command without
    stopping. A stop signal that raises may arrive at any moment, provided that `__exit__` is
    registered before `__enter__` is called and that further signals are ignored.
    """
    return EmbeddedServer(folder, fast=fast, programs=programs)


def server_url(folder: Path, database: str = "app") -> str:
    """The URL of a database of the server of `folder`, running or not."""
    # The port is spelled out because the variable PGPORT would choose another socket.
    sockets = quote(str(host.socket_folder(data_folder(folder))), safe="")
    return f"postgresql://postgres@/{quote(database, safe='')}?host={sockets}&port=5432"


class EmbeddedServer:
    """The server of one folder, in use inside its `with` block; see `embedded_server`."""

    def __init__(self, folder: Path, *, fast: bool = False, programs: Path | None = None) -> None:
        self._programs = programs or binaries()
        self.folder = data_folder(folder)
        self.url = server_url(folder)
        self._admin_url = server_url(folder, "postgres")
        self._fast = fast
        self._data = self.folder / "data"
        self._sockets = host.socket_folder(self.folder)
        self._log = self.folder / "postgres.log"
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._users: BinaryIO | None = None  # open while this process uses the server

    def __enter__(self) -> Self:
        with host.explained(self.folder):
            host.make_home(self.folder)
        try:
            with host.explained(self.folder), host.locked(self.folder / "start.lock"):
                self._users = (self.folder / "users.lock").open("ab")
                host.share(self._users)
                self._serve()
        except StillStartingError:
            # A longer recovery continues, and the next start joins it.
            self._disown()
            self._forget_users()
            raise
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def ensure(self) -> bool:
        """Restart the server if it died; return True if so. Cheap enough for each second."""
        if self._running() is not None:
            return False
        with host.explained(self.folder), host.locked(self.folder / "start.lock"):
            if not self._data.exists():
                raise EmbeddedError(
                    f"The data folder {self._data} was removed while in use: "
                    "stop every command that uses it and start again."
                )
            return self._serve()

    def _leave(self) -> None:
        if self._users is None:
            return
        try:
            with host.locked(self.folder / "start.lock"):
                if host.last_to_share(self._users):
                    self._stop()
        except OSError:
            if not self.folder.exists():  # removed while in use, so nobody can join any more
                self._stop()
        finally:
            self._disown()
        self._forget_users()

    def _forget_users(self) -> None:
        if self._users is not None:
            self._users.close()
            self._users = None

    def _disown(self) -> None:
        if self._process is not None and self._process.poll() is None:
            # Another command stops it. Without a return code Popen warns when it is collected.
            self._process.returncode = 0

    def _serve(self) -> bool:
        """Under the lock, wait for the running server or start one; return True if started."""
        started = False
        pause = 0.02
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            # A pid proves nothing: the server may be starting, recovering or stopping.
            if self._answers():
                return started
            if self._running() is None:
                if started:
                    self._accept_retry()
                self._launch()
                started = True
            time.sleep(pause)
            pause = min(pause * 1.2, 0.5)
        raise StillStartingError(
            f"PostgreSQL did not come up within {PATIENCE:.0f} seconds ({self._last_words()}): "
            f"read {self._log} and start again, {CURE}."
        )

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self._admin_url, connect_timeout=5, autocommit=True) as connection:
                found = connection.execute("SELECT FROM pg_database WHERE datname = 'app'")
                if found.fetchone() is None:
                    connection.execute("CREATE DATABASE app TEMPLATE template0")
        except psycopg.errors.DiskFull as error:
            raise EmbeddedError(
                f"The disk of {self.folder} is full: free some space, {CURE}."
            ) from error
        except psycopg.OperationalError:
            return False
        return True

    def _running(self) -> int | None:
        """Return the pid of the running server of this folder, or None."""
        if self._process is not None and self._process.poll() is None:
            return self._process.pid  # it may not have written its pid yet
        pid = host.recorded_pid(self._data)
        return pid if pid is not None and host.serves(pid, self._data) else None

    def _accept_retry(self) -> None:
        # The shared memory of a killed server disappears with its last child, a moment later. A
        # server that was orphaned before it wrote its pid causes "already exists".
        words = self._last_words()
        killed = self._process is not None and self._process.returncode == -signal.SIGKILL
        if not killed and not re.search("shared memory|already exists", words):
            raise EmbeddedError(
                f"PostgreSQL stopped while starting ({words}): read {self._log}, {CURE}."
            )

    def _launch(self) -> None:
        host.make_private(self._sockets)
        programs = host.runnable(self._programs)
        # At each start, because initdb continues for a moment after its command was killed.
        for leftover in self.folder.glob("data.part-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        version = host.major_version(programs)
        if not self._data.exists():
            self._initialise(programs, LOCALE if version >= 17 else LOCALE_BEFORE_17)
        self._check_version(version)
        self._forget_dead()
        settings = SETTINGS | {"unix_socket_directories": f'"{self._sockets}"'}
        settings |= FAST if self._fast else {}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._log.touch(mode=0o600)  # statements that fail are logged with their values
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            with blocked_signals():  # PostgreSQL unblocks them
                # In a session of its own, Ctrl-C in the terminal does not reach it.
                self._process = subprocess.Popen(
                    [programs / "postgres", "-D", self._data, *options],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    **host.surroundings(),
                )

    def _initialise(self, programs: Path, locale: tuple[str, ...]) -> None:
        part = Path(tempfile.mkdtemp(prefix="data.part-", dir=self.folder))
        host.make_private(part)
        options: list[str | Path] = ["-D", part, "-U", "postgres", "-A", "trust", *locale]
        options += ["--no-sync"] if self._fast else []
        try:
            done = run_to_end([programs / "initdb", *options], **host.surroundings())
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        if done.returncode:
            shutil.rmtree(part, ignore_errors=True)
            words = host.complaint(done.stderr)
            raise EmbeddedError(
                f"PostgreSQL could not make its data in {self.folder} ({words}): "
                f"check the free space and the permissions, {CURE}."
            )
        part.rename(self._data)

    def _check_version(self, version: int) -> None:
        made_by = (self._data / "PG_VERSION").read_text().strip()
        if made_by != str(version):
            raise EmbeddedError(
                f"The data in {self._data} was made by PostgreSQL {made_by}, but this is "
                f"PostgreSQL {version}: move {self.folder} away, {CURE}."
            )

    def _forget_dead(self) -> None:
        """Remove files that stop PostgreSQL: the recorded pid may be of a zombie or a stranger."""
        (self._sockets / f"{host.SOCKET}.lock").unlink(missing_ok=True)
        pid = host.recorded_pid(self._data)
        # The file of an ended process stays: it also names the memory that PostgreSQL checks.
        if pid is None or host.exists(pid):
            (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _stop(self) -> None:
        # The fast shutdown first; the immediate one leaves a recovery to the next start.
        for order, seconds in ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0)):
            deadline = time.monotonic() + seconds
            if (pid := self._running()) is None:
                break
            with suppress(ProcessLookupError):
                os.kill(pid, order)
            while self._running() is not None and time.monotonic() < deadline:
                time.sleep(0.01)
        if self._sockets.parent != self.folder:
            with suppress(OSError):
                self._sockets.rmdir()

    def _last_words(self) -> str:
        with suppress(OSError), self._log.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - 8192))
            return host.complaint(log.read().decode(errors="replace"))
        return host.complaint("")
