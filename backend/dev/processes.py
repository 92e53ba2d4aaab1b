"""The child processes of `backend dev`."""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Self

from backend.dev.lifeline import DEV_PATIENCE, LONGEST_REASON, READY
from backend.dev.stop_signals import blocked_signals


class Child:
    """A process that runs one module of the command line until the end of its `with` block.

    The parent keeps its sockets open, so that requests wait for a restart.
    """

    def __init__(
        self, module: str, environment: Mapping[str, str], sockets: Sequence[socket.socket] = ()
    ) -> None:
        self._module = module
        self._sockets = sockets
        self._environment = os.environ | environment
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: socket.socket | None = None
        self._ready = False
        self._report = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def started(self) -> bool:
        """Whether the process was started and its end was not noticed yet."""
        return self._process is not None

    def ended(self) -> int | None:
        """Return the exit code of a process that has ended by itself, once; otherwise None."""
        code = self._process.poll() if self._process else None
        if code is not None:
            self._process = None
        return code

    def is_ready(self, patience: float = 0) -> bool:
        """Whether the process has reported it, or does so within `patience` seconds."""
        if self._ready or self._lifeline is None:
            return self._ready
        # Readable at the report, or at the end of the process.
        if select.select([self._lifeline], [], [], patience)[0]:
            self._report += self._lifeline.recv(LONGEST_REASON)
            self._ready = self._report == READY
            if not self._ready and patience and self._process is not None:
                self._wait(DEV_PATIENCE)
        return self._ready

    def failure(self) -> str:
        """Return the reported reason of a process that ended before it was ready, or ""."""
        return "" if self.is_ready() else self._report.decode(errors="replace")

    def start(self) -> None:
        """Stop the running process and start a new one."""
        self.stop()
        self._ready, self._report = False, b""
        self._lifeline, child_end = socket.socketpair()
        passed = [child_end.fileno(), *(each.fileno() for each in self._sockets)]
        command = [sys.executable, "-m", self._module, *map(str, passed)]
        # The child unblocks the signals once it handles them.
        with child_end, blocked_signals():
            # Without a session of its own, because breakpoint() needs the terminal.
            self._process = subprocess.Popen(command, env=self._environment, pass_fds=passed)

    def stop(self) -> None:
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None
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
