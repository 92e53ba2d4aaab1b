"""The signals that end a command, and the start of processes that they must not interrupt."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def blocked_signals() -> Iterator[None]:
    """Block stop signals during the start of a thread or process, which inherits the mask.

    A signal between its start and its registration would leave it without an owner.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_to_end(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program; if a signal handler raises, kill it and its children.

    In a session of its own, Ctrl-C in the terminal does not reach it. `options` are those of Popen.
    """
    process: subprocess.Popen[str] | None = None
    try:
        with blocked_signals():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
                **options,
            )
        output, errors = process.communicate()
    except BaseException:
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
