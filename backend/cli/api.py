"""The API as the child process of `backend dev`.

Run as `python -m backend.cli.api LIFELINE SOCKET...`, all of them inherited file descriptors.
"""

import asyncio
import socket

from backend.cli import lifeline


def main() -> None:
    _serve(*lifeline.take_up())


def _serve(line: socket.socket, sockets: list[socket.socket]) -> None:
    from backend.cli.server import Server, make_config
    from backend.main import app

    class TellingServer(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.telling = asyncio.create_task(self.tell_when_ready())

        async def tell_when_ready(self) -> None:
            while not app.state.context.state.started:  # noqa: ASYNC110  # a plain flag
                await asyncio.sleep(0.05)
            line.send(lifeline.READY)

    # uvicorn's own account of starting and stopping would drown what `backend dev` says.
    config = make_config(app, patience=lifeline.DEV_PATIENCE, log_level="warning")
    TellingServer(config).run(sockets)


if __name__ == "__main__":
    main()
