"""Starts the command line without importing it again: a process that has done so makes copies.

Importing the application takes most of the processor time of a short command. A copy is a process
like any other: with a folder, an environment, a session and an end of its own. Its code is what
the fork server has imported, so a command of another project must be started as usual.
"""

import atexit
import functools
import gc
import json
import os
import pkgutil
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

PROGRAM = "from tests.forks import serve; serve({}); from backend.cli import main; main()"
# What reads the environment when it is imported.
NOT_IMPORTED = {"backend.main"}
NUMBER = struct.Struct("i")


class Forked:
    """A running copy; what tests use of `subprocess.Popen`."""

    def __init__(self, status: int) -> None:
        self._status = status
        self.returncode: int | None = None
        self.pid = self._read()

    def poll(self) -> int | None:
        return self._end(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._end(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("backend", timeout or 0)
        return code

    def _end(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            self.returncode = os.waitstatus_to_exitcode(self._read())
            os.close(self._status)
        return self.returncode

    def _read(self) -> int:
        number: int = NUMBER.unpack(os.read(self._status, NUMBER.size))[0]
        return number


def fork(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    streams: tuple[int, int, int],
) -> Forked:
    """Run `backend` with these arguments, in a new session.

    `streams` are the descriptors of its standard input, output and error.
    """
    status, for_status = os.pipe()
    with tempfile.TemporaryFile("w+") as task:
        json.dump([list(arguments), str(folder), dict(environment)], task)
        task.seek(0)
        socket.send_fds(_fork_server(), [b"!"], [task.fileno(), for_status, *streams])
    os.close(for_status)
    return Forked(status)


@functools.cache
def _fork_server() -> socket.socket:
    """One for each process of the test run; it ends when the connection to it closes."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(theirs.fileno())],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONWARNINGS": "error"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    def stop() -> None:
        ours.close()
        process.wait()

    atexit.register(stop)
    return ours


def serve(connection: int) -> None:
    """Make copies until the connection closes. Returns in each copy, ready to be the command."""
    import backend

    for found in pkgutil.walk_packages(backend.__path__, "backend."):
        if found.name not in NOT_IMPORTED:
            import_module(found.name)
    # Objects that are never looked at again stay shared with the copies.
    gc.collect()
    gc.freeze()
    # Those who wait for copies are not waited for themselves.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=connection) as requests:
        while True:
            message, descriptors, _, _ = socket.recv_fds(requests, 1, 5)
            if not message:
                os._exit(0)
            if os.fork() == 0:
                break
            for each in descriptors:
                os.close(each)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    task, status, *streams = descriptors
    if pid := os.fork():
        os.write(status, NUMBER.pack(pid))
        os.write(status, NUMBER.pack(os.waitpid(pid, 0)[1]))
        os._exit(0)
    os.close(status)
    _become(task, streams)


def _become(task: int, streams: list[int]) -> None:
    with open(task) as file:
        arguments, folder, environment = json.load(file)
    # A test run in the background of a shell ignores these, which commands must not inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
