"""Several processes that serve one port: started, replaced when they die, and stopped together."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

import structlog
from uvicorn.config import STARTUP_FAILURE

from backend.server.config import Config
from backend.server.server import Server

log = structlog.get_logger()

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HEARTBEAT_SECONDS = 1.0
# A worker without a heartbeat for this long is replaced. It is long, because a worker that starts
# on a busy machine, or computes, must not be replaced again and again.
SILENCE_SECONDS = 30.0
# After the time that a stop may take, before a worker is killed.
KILL_SECONDS = 5.0
# Before a worker is started in place of one that died before it was ready.
RETRY_SECONDS = 1.0
# A parent that was not scheduled for this long was paused, and its workers perhaps as well.
PAUSE_SECONDS = 5.0
READY, ALIVE = b"ready", b"alive"


class WorkerServer(Server):
    """The server of one worker. It stops when its parent has died."""

    def __init__(self, config: Config, parent: Connection) -> None:
        super().__init__(config, on_ready=partial(self._report, READY))
        self._parent = parent
        # A parent that does not read must not block the event loop.
        os.set_blocking(parent.fileno(), False)
        self._reported_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().add_reader(self._parent.fileno(), self._stop_at_once)
        await super().startup(sockets)

    def _stop_at_once(self) -> None:
        # The parent sends nothing, so the pipe is readable at its end only. The port must become
        # free for the next start, so there is no drain.
        asyncio.get_running_loop().remove_reader(self._parent.fileno())
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        if time.monotonic() - self._reported_at >= HEARTBEAT_SECONDS:
            self._report(ALIVE)
        return await super().on_tick(counter)

    def _report(self, message: bytes) -> None:
        self._reported_at = time.monotonic()
        with suppress(OSError):
            self._parent.send_bytes(message)


class Worker:
    """A worker process and its pipe, for the parent."""

    def __init__(self, config: Config, sockets: list[socket.socket], metrics: int | None) -> None:
        """`metrics` is the number of the worker for the files of its metrics, if it has some."""
        self.pipe, worker_end = get_context("spawn").Pipe()
        self.process = get_context("spawn").Process(
            target=_run_worker, args=(config, sockets, worker_end, metrics), daemon=False
        )
        self.process.start()
        worker_end.close()
        self.is_ready = False
        self.last_message_at = time.monotonic()

    def read(self) -> None:
        """Take the messages that have arrived."""
        with suppress(EOFError, OSError):
            while self.pipe.poll():
                self.is_ready = self.pipe.recv_bytes() == READY or self.is_ready
                self.last_message_at = time.monotonic()

    def is_silent(self) -> bool:
        return time.monotonic() - self.last_message_at > SILENCE_SECONDS

    def signal(self, number: int) -> None:
        if self.process.exitcode is None and self.process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)


def _run_worker(
    config: Config, sockets: list[socket.socket], parent: Connection, metrics: int | None
) -> None:
    if metrics is not None:
        from backend.telemetry.endpoint import keep_values_in_files  # noqa: PLC0415  # unused without

        keep_values_in_files(metrics)
    # Loggers are not inherited. Otherwise uvicorn would log each request too, with its query.
    config.configure_logging()
    # The parent turns the end of a terminal into SIGTERM.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # uvicorn raises the signals again that it has handled.
    with suppress(KeyboardInterrupt):
        WorkerServer(config, parent).run(sockets)


class Workers:
    """Runs `config.workers` processes on bound sockets until a signal to stop."""

    def __init__(
        self,
        config: Config,
        sockets: list[socket.socket],
        *,
        on_ready: Callable[[], None],
        metrics: Path | None = None,
    ) -> None:
        """`on_ready` is called once the first worker listens; `metrics` is a folder for files."""
        self._config = config
        self._on_ready = on_ready
        self._sockets = sockets
        self._metrics = metrics
        self._signals: list[int] = []
        self._workers: list[Worker] = []
        self._was_ready = False

    def run(self) -> int:
        """Run until a signal to stop, and return the exit code."""
        with _collected(self._signals):
            try:
                return self._supervise()
            finally:
                self._stop()

    def _supervise(self) -> int:
        for index in range(self._config.workers):
            self._workers.append(self._start(index))
        while not self._signals:
            self._wait(0.5)
            if not self._was_ready and any(each.is_ready for each in self._workers):
                self._was_ready = True
                self._on_ready()
            if not self._signals and not self._replace_dead():
                return STARTUP_FAILURE
        return 0

    def _start(self, index: int) -> Worker:
        if self._metrics is None:
            return Worker(self._config, self._sockets, None)
        # Imported only here: without metrics, the client library is not needed.
        from backend.telemetry.endpoint import forget_state  # noqa: PLC0415  # see above

        forget_state(self._metrics, index)
        return Worker(self._config, self._sockets, index)

    def _wait(self, seconds: float) -> None:
        """Wait for a message, an end or a signal, at most so many seconds."""
        started = time.monotonic()
        running = [each for each in self._workers if each.process.exitcode is None]
        sentinels = [each.process.sentinel for each in running]
        connection.wait([*sentinels, *(each.pipe for each in running)], seconds)
        now = time.monotonic()
        for each in self._workers:
            each.read()
            if now - started > seconds + PAUSE_SECONDS:
                each.last_message_at = now

    def _replace_dead(self) -> bool:
        """Start a worker for each that has died; return False if none was ever able to start."""
        for index, each in enumerate(self._workers):
            is_silent = each.is_silent()
            if each.process.exitcode is None and not is_silent:
                continue
            each.process.kill()
            each.process.join()
            code = each.process.exitcode
            if code == STARTUP_FAILURE and not self._was_ready:
                return False
            log.warning("worker_died", pid=each.process.pid, exit_code=code, silent=is_silent)
            if not each.is_ready:
                self._wait(RETRY_SECONDS)
            try:
                self._workers[index] = self._start(index)
            except OSError as error:
                # The machine has no room for a process; the next round tries again.
                log.warning("worker_not_started", reason=error.strerror)
                self._wait(RETRY_SECONDS)
        return True

    def _stop(self) -> None:
        """Pass the signal on, and wait for all. A later signal is passed on as well."""
        # The last worker that closes its copy of a socket thereby refuses new connections.
        for bound in self._sockets:
            bound.close()
        patience = self._config.drain_seconds + (self._config.timeout_graceful_shutdown or 0)
        ends = time.monotonic() + patience + KILL_SECONDS
        # Always SIGTERM: Ctrl-C has reached the workers of a terminal already.
        self._signals[:1] = [signal.SIGTERM]
        while running := [each for each in self._workers if each.process.exitcode is None]:
            while self._signals:
                number = self._signals.pop(0)
                for each in running:
                    each.signal(number)
            if time.monotonic() > ends:
                for each in running:
                    each.process.kill()
            self._wait(0.2)
        for each in self._workers:
            each.process.join()


@contextmanager
def _collected(received: list[int]) -> Iterator[None]:
    """Collect signals to stop in a list instead of ending the process."""

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    before = {each: signal.signal(each, note) for each in STOP_SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
