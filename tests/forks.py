"""A fork server for the command line: a process that has imported the application forks copies.

Importing the application takes most of the processor time of a short command. Each copy has a
folder, an environment and a session of its own. It runs the code that the fork server has
imported, so commands of another project must be started with `subprocess`.
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
# Modules that read the environment at import.
NOT_IMPORTED = {"backend.main"}
NUMBER = struct.Struct("i")


class Forked:
    """A forked process, with the part of the interface of `subprocess.Popen` that tests use."""

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
    """Start one fork server per test process; it ends when the returned connection closes."""
    connection, server_end = socket.socketpair()
    with server_end:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(server_end.fileno())],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONWARNINGS": "error"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[server_end.fileno()],
            start_new_session=True,
        )

    def stop() -> None:
        connection.close()
        process.wait()

    atexit.register(stop)
    return connection


def serve(connection: int) -> None:
    """Fork a copy per request until the connection closes; return only in the copies."""
    import backend

    for module in pkgutil.walk_packages(backend.__path__, "backend."):
        if module.name not in NOT_IMPORTED:
            import_module(module.name)
    # Frozen objects are not touched by garbage collection, so their memory stays shared.
    gc.collect()
    gc.freeze()
    # The intermediate processes, which wait for the copies, are reaped by the kernel.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=connection) as requests:
        while True:
            message, descriptors, _, _ = socket.recv_fds(requests, 1, 5)
            if not message:
                os._exit(0)
            if os.fork() == 0:
                break
            for descriptor in descriptors:
                os.close(descriptor)
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
    # Background processes of a shell ignore these signals; commands must not inherit that.
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
