"""What ties a child process to `backend dev`: one end of a pair of sockets.

Through it the child tells when it is ready or why it will never be, and hears the silence of a
parent that has died.
"""

import os
import signal
import socket
import sys
import threading
from contextlib import suppress

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Seconds for what still runs in a child that is to stop.
DEV_PATIENCE = 2
READY = b"ready"
# Far less than the two sockets hold, so that telling never waits.
LONGEST_REASON = 20_000


def take_up() -> tuple[socket.socket, list[socket.socket]]:
    """The lifeline, and the other sockets that came with it: file descriptors in `sys.argv`."""
    # Ctrl-C reaches every process of a terminal; here it must not print a traceback.
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    lifeline, *sockets = (socket.socket(fileno=int(each)) for each in sys.argv[1:])
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    return lifeline, sockets


def tell_failure(line: socket.socket, reason: str) -> None:
    """Say why this child ends before it was ready."""
    # A parent that has died hears nothing; the signal to stop is on its way.
    with suppress(OSError):
        line.send(reason.encode(errors="replace")[:LONGEST_REASON])


def _end_with_parent(lifeline: socket.socket) -> None:
    with suppress(ConnectionError):
        while lifeline.recv(1):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
