"""The API as the child process of `backend dev`.

Run as `python -m backend.cli.api LIFELINE SOCKET...`, all of them inherited file descriptors.
The lifeline is one end of a pair: this side tells when the API is ready, and the silence of a
dead parent is heard here.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
from contextlib import suppress

DEV_PATIENCE = 2
READY = b"ready"


def main() -> None:
    # Ctrl-C reaches every process of a terminal; here it must not print a traceback.
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    lifeline, *sockets = (socket.socket(fileno=int(each)) for each in sys.argv[1:])
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    _serve(lifeline, sockets)


def _end_with_parent(lifeline: socket.socket) -> None:
    with suppress(ConnectionError):
        while lifeline.recv(1):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


def _serve(lifeline: socket.socket, sockets: list[socket.socket]) -> None:
    from backend.cli.server import Server, make_config
    from backend.main import app

    class TellingServer(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.telling = asyncio.create_task(self.tell_when_ready())

        async def tell_when_ready(self) -> None:
            while not app.state.context.state.started:  # noqa: ASYNC110  # a plain flag
                await asyncio.sleep(0.05)
            lifeline.send(READY)

    # uvicorn's own account of starting and stopping would drown what `backend dev` says.
    config = make_config(app, patience=DEV_PATIENCE, log_level="warning")
    TellingServer(config).run(sockets)


if __name__ == "__main__":
    main()
