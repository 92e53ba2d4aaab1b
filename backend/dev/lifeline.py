"""The pair of sockets between `backend dev` and a child process.

The child reports that it is ready, or why it failed. The end of the parent closes the socket, which
stops the child.
"""

import os
import signal
import socket
import sys
import threading
from contextlib import suppress

from backend.dev.stop_signals import STOP_SIGNALS

# Seconds that running requests and jobs have when a child stops.
DEV_PATIENCE = 2
READY = b"ready"
# Far less than the buffers of the sockets, so that reporting never blocks.
LONGEST_REASON = 20_000


def inherit() -> tuple[socket.socket, list[socket.socket]]:
    """Return the lifeline and the other sockets whose file descriptors are in `sys.argv`."""
    # Ctrl-C reaches all processes of the terminal; a child must not print a traceback.
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    lifeline, *sockets = (socket.socket(fileno=int(each)) for each in sys.argv[1:])
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    return lifeline, sockets


def report_failure(line: socket.socket, reason: str) -> None:
    """Report why this child ends before it is ready."""
    # If the parent has died, a signal stops this process.
    with suppress(OSError):
        line.send(reason.encode(errors="replace")[:LONGEST_REASON])


def _end_with_parent(lifeline: socket.socket) -> None:
    with suppress(ConnectionError):
        while lifeline.recv(1):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
