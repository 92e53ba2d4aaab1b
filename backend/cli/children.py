"""The API as a child process, and the files it is made of."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import backend
from backend.cli.api import DEV_PATIENCE, READY
from backend.cli.terminal import STOPPING, shown

PACKAGE = Path(backend.__file__).parent


class Api:
    """Runs inside its `with` block. Its sockets outlive it, so that requests wait for a restart."""

    def __init__(self, sockets: Sequence[socket.socket], environment: Mapping[str, str]) -> None:
        self._sockets = sockets
        self._environment = os.environ | environment
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: socket.socket | None = None
        self.restarted = False

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def returncode(self) -> int | None:
        return self._process.poll() if self._process else None

    def ended(self) -> int | None:
        """The exit code of a process that has ended by itself, once."""
        code = self.returncode
        if code is not None:
            self._process = None
        return code

    def restart(self) -> None:
        self._stop()
        self.restarted = True
        self._start()

    def wait_until_ready(self, patience: float) -> bool:
        """False when it has ended, or is not ready in time; its log says why."""
        assert self._lifeline is not None
        # Readable with the word, or at the end of a process that will not say it any more.
        if select.select([self._lifeline], [], [], patience)[0]:
            if self._lifeline.recv(len(READY)) == READY:
                return True
            self._wait(DEV_PATIENCE)
        return False

    def _start(self) -> None:
        self._lifeline, theirs = socket.socketpair()
        passed = [theirs.fileno(), *(each.fileno() for each in self._sockets)]
        command = [sys.executable, "-m", "backend.cli.api", *map(str, passed)]
        # A signal in the middle would leave a process that nobody knows. The child inherits the
        # mask, and lifts it when it can take the signals without a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            # Not in a session of its own: breakpoint() needs the terminal.
            self._process = subprocess.Popen(command, env=self._environment, pass_fds=passed)
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _stop(self) -> None:
        if self._lifeline is not None:
            self._lifeline.close()
        if self._process is None:
            return
        self._process.terminate()
        if not self._wait(DEV_PATIENCE + 3):
            self._process.kill()
            self._process.wait()
        self._process = None

    def _wait(self, seconds: float) -> bool:
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


class Files:
    """Notices when the code changes."""

    def __init__(self) -> None:
        self._seen = self._state()
        self._next_look = time.monotonic() + 0.5

    def changed(self) -> str | None:
        """One of the files that changed since the last call, if any did."""
        if time.monotonic() < self._next_look:
            return None
        self._next_look = time.monotonic() + 0.5
        before, self._seen = self._seen, self._state()
        different = dict(before.items() ^ self._seen.items())
        return shown(min(different)) if different else None

    @staticmethod
    def _state() -> dict[Path, int]:
        found = {}
        for file in PACKAGE.rglob("*.py"):
            try:
                found[file] = file.stat().st_mtime_ns
            except FileNotFoundError:
                continue  # an editor was just replacing it; the next look sees the new one
        return found
