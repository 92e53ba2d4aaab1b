"""The API as a child process of `backend dev`.

It runs as `python -m backend.cli.dev_api LIFELINE SOCKET...`; the arguments are inherited file
descriptors.
"""

import asyncio
import socket
import traceback
from pathlib import Path

from backend.dev import lifeline


def main() -> None:
    line, sockets = lifeline.inherit()
    try:
        _serve(line, sockets)
    except SystemExit as end:
        # A text is the sentence with which `backend.main` reports unusable settings or modules.
        if isinstance(end.code, str):
            lifeline.report_failure(line, end.code)
        raise
    except Exception as error:
        lifeline.report_failure(line, f"The API does not start: {described(error)}")
        raise


def described(error: Exception) -> str:
    """Return an error's type and text, and the line that raised it."""
    description = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):  # its text names the line
        return description
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{description} ({Path(frame.filename).name}, line {frame.lineno})"


def _serve(line: socket.socket, sockets: list[socket.socket]) -> None:
    from backend.main import app
    from backend.server.config import bounds_of, make_config
    from backend.server.server import Server

    class ChildServer(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.ready_task = asyncio.create_task(self.send_ready())

        async def send_ready(self) -> None:
            while not app.state.context.state.started:  # noqa: ASYNC110  # a plain flag
                await asyncio.sleep(0.05)
            line.send(lifeline.READY)

    # uvicorn's messages about starting and stopping would clutter the output of `backend dev`.
    settings = app.state.context.settings
    config = make_config(
        app,
        patience=lifeline.DEV_PATIENCE,
        bounds=bounds_of(settings),
        keep_alive=settings.keep_alive,
        log_level="warning",
    )
    ChildServer(config).run(sockets)


if __name__ == "__main__":
    main()
