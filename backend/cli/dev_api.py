"""The API as the child process of `backend dev`.

Run as `python -m backend.cli.dev_api LIFELINE SOCKET...`, all of them inherited file descriptors.
"""

import asyncio
import socket
import traceback
from pathlib import Path

from backend.dev import lifeline


def main() -> None:
    line, sockets = lifeline.take_up()
    try:
        _serve(line, sockets)
    except SystemExit as end:
        # With a sentence: what `backend.main` says of settings and modules that are not usable.
        if isinstance(end.code, str):
            lifeline.tell_failure(line, end.code)
        raise
    except Exception as error:
        lifeline.tell_failure(line, f"The API does not start: {described(error)}")
        raise


def described(error: Exception) -> str:
    """An error with the line that raised it."""
    told = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return told
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{told} ({Path(frame.filename).name}, line {frame.lineno})"


def _serve(line: socket.socket, sockets: list[socket.socket]) -> None:
    from backend.main import app
    from backend.server.config import bounds_of, make_config
    from backend.server.server import Server

    class TellingServer(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.telling = asyncio.create_task(self.tell_when_ready())

        async def tell_when_ready(self) -> None:
            while not app.state.context.state.started:  # noqa: ASYNC110  # a plain flag
                await asyncio.sleep(0.05)
            line.send(lifeline.READY)

    # uvicorn's own account of starting and stopping would drown what `backend dev` says.
    settings = app.state.context.settings
    config = make_config(
        app,
        patience=lifeline.DEV_PATIENCE,
        bounds=bounds_of(settings),
        keep_alive=settings.keep_alive,
        log_level="warning",
    )
    TellingServer(config).run(sockets)


if __name__ == "__main__":
    main()
